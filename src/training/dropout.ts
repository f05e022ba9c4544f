/** @file Dropout (Srivastava et al. 2014). The masks depend only on seed, step and place in the graph, so a resumed run uses the
 *  same masks as an uninterrupted one.
 *
 *  The host feeds one table of 0 and 1 / (1 - rate) per step; each dropout reads it from its own offset. */

import { derivedSeed } from "../base/random.ts";
import { float32, type HostTensor } from "../base/tensor.ts";
import { addInt, mul } from "../graph/ops/elementwise.ts";
import { integers, reshape, sizeOf, slice } from "../graph/ops/movement.ts";
import { factorsOf, flattened, productOf, type Shape } from "../graph/sizes.ts";
import type { Graph } from "../graph/value.ts";
import type { Dropout } from "../models/attention.ts";

// Each place reads the table at its own offset within this slack; a prime stride spreads the offsets.
const SLACK = 65536;
const STRIDE = 7919;
const NOISE = "dropout_noise";

export interface SeededDropout {
  readonly apply: Dropout;
  /** The table for one micro-batch, given the run-time value of each named size. */
  noise(sizes: Readonly<Record<string, number>>, ...seed: readonly number[]): Record<string, HostTensor>;
}

export function seededDropout(graph: Graph, rate: number): SeededDropout {
  const shapes: Shape[] = [];
  const table = graph.float(NOISE, "noise");
  return {
    apply: (x) => {
      const offset = (shapes.length * STRIDE) % SLACK;
      shapes.push(x.shape);
      const size = flattened(x.shape);
      const end = addInt(sizeOf(graph, size), integers(graph, [offset]));
      return mul(x, reshape(slice(table, 0, offset, end, String(size)), ...x.shape));
    },
    noise: (sizes, ...seed) => {
      const largest = Math.max(0, ...shapes.map((shape) => elementsOf(shape, sizes)));
      return { [NOISE]: maskTable(largest + SLACK, rate, derivedSeed(...seed)) };
    },
  };
}

function elementsOf(shape: Shape, sizes: Readonly<Record<string, number>>): number {
  const { count, names } = productOf(shape);
  return names === "" ? count : factorsOf(names).reduce<number>((product, name) => product * sizes[name]!, count);
}

/** Takes two 16-bit draws from each step of a xorshift generator (Marsaglia 2003). */
function maskTable(length: number, rate: number, seed: number): HostTensor<"float32"> {
  const data = new Float32Array(length);
  const threshold = Math.round(rate * 65536);
  const kept = 1 / (1 - rate);
  let state = seed | 1;
  for (let i = 0; i < length; i += 2) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    data[i] = (state & 0xffff) < threshold ? 0 : kept;
    if (i + 1 < length) data[i + 1] = state >>> 16 < threshold ? 0 : kept;
  }
  return float32([length], data);
}
