/** @file What a step gives of the logits where they stay on a device: the whole, or only the best, if the rows need no others.
 *
 *      k = 1    m = max l,  the least i with l_i = m
 *      k > 1    l in pieces;  the k pieces with the largest maxima (found in the same way), in their order;  the k largest of their numbers
 *
 *  Ties go to the lower id. A piece that is not chosen has k pieces before it whose maxima all come before its own numbers, so it holds none of
 *  the k best. WebGPU's TopK sorts all that it is given: of 152,000 numbers that takes a hundred times as long as their maximum.
 *
 *  Few graphs serve all k. Above the largest the whole logits are read. */

import { float32, type HostTensor } from "../base/tensor.ts";
import { add, cast, equal, mul, toFloat, where } from "../graph/ops/elementwise.ts";
import { expand, gatherElements, pad, reshape, unsqueeze } from "../graph/ops/movement.ts";
import { reduceMax, topK } from "../graph/ops/reduce.ts";
import type { Float, Graph } from "../graph/value.ts";
import type { DeviceTensor, Session } from "../runtime/engine.ts";

/** The best tokens, best first; ties go to the lower id. */
export interface Candidates {
  readonly ids: Uint32Array;
  /** Of these tokens. */
  readonly logits: Float32Array;
}
/** float32 [vocabulary], or the best of them. */
export type Logits = Float32Array | Candidates;

/** Numbers of candidates that have a graph. More of them save little: an id takes more bytes than a logit. */
const SIZES = [1, 64, 256];
/** The graph's results, [batch, k]: float32 both, which counts exactly up to 2^24. */
const RESULTS = { logits: "candidates.logits", ids: "candidates.ids" } as const;
/** Numbers that TopK sorts at once. */
const SORTED = 2048;
/** Of a piece. SwiftShader takes the maxima of wider ones thirty times as slowly. */
const WIDEST = 16;
/** Smaller than every logit. */
const LEAST = -3e38;

/** Opens the session of a graph; the same session at every call with one number of candidates. */
export type OpenBest = (k: number, build: (graph: Graph) => void) => Promise<Session>;

/** What rows need: this many candidates, or everything. */
export function neededBy(rows: readonly { readonly candidates: number | undefined }[]): number {
  return Math.max(0, ...rows.map(({ candidates }) => candidates ?? Number.POSITIVE_INFINITY));
}

/** Each row's logits, [batch, 1, vocabulary] on a device: at least the best `needed`. */
export async function readLogits(logits: DeviceTensor, needed: number, open: OpenBest): Promise<(row: number) => Logits> {
  const vocabulary = logits.shape[2]!;
  const k = SIZES.find((size) => size >= needed && size < vocabulary);
  if (k === undefined) return rowsOf((await logits.read()) as HostTensor<"float32">);
  const session = await open(k, (graph) => buildBest(graph, vocabulary, k));
  const { [RESULTS.logits]: best, [RESULTS.ids]: ids } = await session.run({ logits });
  const ofRow = (tensor: HostTensor | undefined, row: number) => (tensor!.data as Float32Array).subarray(row * k, (row + 1) * k);
  return (row) => ({ ids: Uint32Array.from(ofRow(ids, row)), logits: ofRow(best, row) });
}

/** Each row of [batch, 1, vocabulary]. */
export function rowsOf({ data, shape }: HostTensor<"float32">): (row: number) => Float32Array {
  const vocabulary = shape[2]!;
  return (row) => data.subarray(row * vocabulary, (row + 1) * vocabulary);
}

/** Fetches the k best logits of each row and their ids. */
function buildBest(graph: Graph, vocabulary: number, k: number): void {
  const logits = reshape(graph.float("logits", "batch", 1, vocabulary), "batch", vocabulary);
  const { values, indices } = k === 1 ? largestOf(logits) : largestIn(logits, k);
  graph.output(RESULTS.logits, values);
  graph.output(RESULTS.ids, indices);
}

interface Largest {
  readonly values: Float;
  /** Whole numbers. */
  readonly indices: Float;
}

/** x: [batch, n] -> [batch, 1] */
function largestOf(x: Float): Largest {
  const size = x.shape[1] as number;
  const values = reduceMax(x);
  const last = where(equal(x, values), mul(counted(x.graph, size), -1), -size);
  return { values, indices: mul(reduceMax(last), -1) };
}

/** x: [batch, n] -> [batch, k], largest first */
function largestIn(x: Float, k: number): Largest {
  const size = x.shape[1] as number;
  if (size <= SORTED || size < 16 * k) {
    const { values, indices } = topK(x, k);
    return { values, indices: toFloat(indices) };
  }
  const width = Math.min(2 ** Math.round(Math.log2(size / k) / 2), WIDEST, SORTED / k);
  const count = Math.ceil(size / width);
  const pieces = reshape(padded(x, count * width), "batch", count, width);
  const chosen = largestIn(reshape(reduceMax(pieces), "batch", count), k).indices;
  const inOrder = unsqueeze(mul(topK(mul(chosen, -1), k).values, -1), 2);
  const numbers = gatherElements(pieces, expand(cast(inOrder, "int64"), "batch", k, width), 1);
  const places = add(mul(inOrder, width), counted(x.graph, width));
  const { values, indices } = topK(reshape(numbers, "batch", k * width), k);
  return { values, indices: gatherElements(reshape(places, "batch", k * width), indices) };
}

/** 0, 1, 2, ...: float32 [size] */
function counted(graph: Graph, size: number): Float {
  return graph.constant(
    float32(
      [size],
      Float32Array.from({ length: size }, (_, i) => i),
    ),
  );
}

/** x [batch, n] -> [batch, size], the rest smaller than every logit. */
function padded(x: Float, size: number): Float {
  const own = x.shape[1] as number;
  if (own === size) return x;
  const isOwn = x.graph.constant({ dtype: "bool", shape: [size], data: Uint8Array.from({ length: size }, (_, id) => Number(id < own)) });
  return where(isOwn, pad(x, 1, 0, size - own), LEAST);
}
