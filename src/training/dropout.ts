/** @file Dropout (Srivastava et al. 2014). The masks depend only on the seed of a row and the place in the graph, so a resumed run uses
 *  the same masks as an uninterrupted one. Padding and the other rows of a batch change no mask, so an expert that trains beside others
 *  uses the masks that it has alone.
 *
 *  The host feeds tables of 0 and 1 / (1 - rate) for each pass; each dropout reads them from its own offset:
 *
 *    x [rows, sequence, width]            the first sequence * width numbers of its row, from the place's offset on
 *    x [rows, heads, queries, keys]       the first keys numbers of its row, head and query, from the place's offset on */

import { invariant } from "../base/errors.ts";
import { float32, type HostTensor } from "../base/tensor.ts";
import { addInt, mul } from "../graph/ops/elementwise.ts";
import { integers, reshape, sizeOf, slice } from "../graph/ops/movement.ts";
import { factorsOf, flattened, type Shape, type Size } from "../graph/sizes.ts";
import type { Float, Graph } from "../graph/value.ts";
import type { Dropout } from "../models/attention.ts";

// Places read a table at offsets within this slack; a prime stride spreads the offsets.
const SLACK = 8192;
const STRIDE = 613;
// The offsets of attention's places, in keys.
const KEY_STRIDE = 7;
const NOISE = "dropout_noise";

/** The run-time values of the named sizes. */
type Sizes = Readonly<Record<string, number>>;

export interface SeededDropout {
  readonly apply: Dropout;
  /** The tables for one pass, given the run-time value of each named size and a seed for each row. */
  noise(sizes: Sizes, rowSeeds: readonly number[]): Record<string, HostTensor>;
}

export function seededDropout(graph: Graph, rate: number): SeededDropout {
  // The shapes at the places that read a table; attention has a table for each shape.
  const states: Shape[] = [];
  const attentions = new Map<string, Shape[]>();
  return {
    apply: (x) => {
      if (x.shape.length === 4) {
        const name = `${NOISE}.${x.shape.join(".")}`;
        const places = attentions.get(name) ?? [];
        attentions.set(name, places);
        return mul(x, attentionMask(graph, name, x.shape, places.push(x.shape) - 1));
      }
      invariant(x.shape.length === 3, "dropout works on states and on the weights of attention");
      return mul(x, stateMask(graph, x.shape, states.push(x.shape) - 1));
    },
    noise: (sizes, rowSeeds) => {
      const draw = (heads: number, queries: number, length: number) => masks({ heads, queries, length, rate }, rowSeeds);
      const feeds: Record<string, HostTensor> = {};
      if (states.length > 0) {
        const length = SLACK + Math.max(...states.map((shape) => elementsOf(shape.slice(1), sizes)));
        feeds[NOISE] = float32([rowSeeds.length, length], draw(1, 1, length));
      }
      for (const [name, shapes] of attentions) {
        const [heads, queries, keys] = shapes[0]!.slice(1).map((size) => elementsOf([size], sizes)) as [number, number, number];
        const length = keys + KEY_STRIDE * shapes.length;
        feeds[name] = float32([rowSeeds.length, heads, queries, length], draw(heads, queries, length));
      }
      return feeds;
    },
  };
}

/** [rows, sequence, width] */
function stateMask(graph: Graph, shape: Shape, place: number): Float {
  const offset = (place * STRIDE) % SLACK;
  const size = flattened(shape.slice(1));
  const end = addInt(sizeOf(graph, size), integers(graph, [offset]));
  return reshape(slice(graph.float(NOISE, shape[0]!, "noise"), 1, offset, end, String(size)), ...shape);
}

/** [rows, heads, queries, keys] */
function attentionMask(graph: Graph, name: string, shape: Shape, place: number): Float {
  const [rows, heads, queries, keys] = shape as [Size, Size, Size, Size];
  const offset = place * KEY_STRIDE;
  const end = addInt(sizeOf(graph, keys), integers(graph, [offset]));
  return slice(graph.float(name, rows, heads, queries, `noise_${keys}`), 3, offset, end, String(keys));
}

function elementsOf(shape: Shape, sizes: Sizes): number {
  return shape.flatMap(factorsOf).reduce<number>((product, factor) => product * (typeof factor === "number" ? factor : sizes[factor]!), 1);
}

interface Lines {
  readonly heads: number;
  readonly queries: number;
  readonly length: number;
  readonly rate: number;
}

/** A line of `length` masks for each row, head and query. It depends on the row's seed, the head and the query, and a longer one begins
 *  with the same numbers. Two 16-bit draws are taken from each step of a xorshift generator (Marsaglia 2003). */
function masks({ heads, queries, length, rate }: Lines, rowSeeds: readonly number[]): Float32Array {
  const data = new Float32Array(rowSeeds.length * heads * queries * length);
  const threshold = Math.round(rate * 65536);
  const kept = 1 / (1 - rate);
  let start = 0;
  for (const seed of rowSeeds) {
    for (let head = 0; head < heads; head++) {
      const own = mixed(seed ^ Math.imul(head + 1, 0x9e3779b1));
      for (let query = 0; query < queries; query++) {
        let state = mixed(own + query) | 1;
        const end = start + length;
        for (let i = start; i < end; i += 2) {
          state ^= state << 13;
          state ^= state >>> 17;
          state ^= state << 5;
          data[i] = (state & 0xffff) < threshold ? 0 : kept;
          if (i + 1 < end) data[i + 1] = state >>> 16 < threshold ? 0 : kept;
        }
        start = end;
      }
    }
  }
  return data;
}

/** Spreads the bits of a seed (the finalizer of MurmurHash3). */
function mixed(seed: number): number {
  let z = seed | 0;
  z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
  z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
  return z ^ (z >>> 16);
}
