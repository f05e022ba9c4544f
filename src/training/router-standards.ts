/** @file The distribution of the routers' inputs, and coordinates that make them easy to separate.
 *
 *  Pooled states share a large mean and vary most along a few directions that depend little on the domain; one direction may have
 *  half of the variance. It dominates gradient steps on the raw states. Routers therefore learn on whitened states, which are
 *  uncorrelated with deviation 1 over a sample of the training data. v_i are its principal directions, s_i their deviations:
 *
 *      h~ = T (h - mean)      T = 1/f + sum_i (1/s_i - 1/f) v_i v_i^T      f = the smallest s_i, used for directions outside the sample
 *
 *  A router on whitened states is still a linear layer, and is stored as one on h:
 *
 *      R' = R T        b' = b - R' mean */

import { fromRows, truncatedSvd } from "../adapters/linalg.ts";
import { chunks } from "../base/chunks.ts";
import { derivedSeed, seededRandom, shuffled } from "../base/random.ts";
import { float32, type HostTensor } from "../base/tensor.ts";
import { createGraph } from "../graph/graph.ts";
import { add, mul, sub, toFloat } from "../graph/ops/elementwise.ts";
import { matmul } from "../graph/ops/linalg.ts";
import type { Float, Graph } from "../graph/value.ts";
import type { Base } from "../inference/base.ts";
import type { Architecture } from "../models/architecture.ts";
import { type MoaRouter, type Pooling, pooled, promptOf, readPrompt } from "../routing/moa.ts";
import { Session } from "../runtime/session.ts";
import { collate, type Encoded } from "./batches.ts";
import { labelsOf, realLabels } from "./loss.ts";

/** Mean and principal directions of states. */
export interface Standard {
  /** [hidden] */
  readonly mean: HostTensor<"float32">;
  /** Orthonormal rows: [count, hidden]. */
  readonly directions: HostTensor<"float32">;
  /** The deviation along each direction, in descending order: [count]. */
  readonly deviations: HostTensor<"float32">;
  /** The deviation that is used for all other directions. */
  readonly rest: number;
}
/** By layer. */
export type Standards = ReadonlyMap<string, Standard>;

/** 1 for the tokens of a training batch's prompts: [batch, sequence]. */
export function promptIn(graph: Graph, architecture: Architecture): Float {
  const mask = graph.int("attention_mask", "batch", "sequence");
  return architecture.kind === "encoder-decoder" ? toFloat(mask) : promptOf(mask, realLabels(labelsOf(graph, architecture)));
}

const SAMPLE = 512;
const BATCH = 32;
const EXACT = 256; // rows used from a wide sample; an exact decomposition of so many takes some seconds
const LEAST = 1e-4; // share of the largest deviation; smaller ones are noise in float32

/** Measures the base model's states before each layer that has a router. */
export async function routerStandards(
  { architecture, seams, engine }: Base,
  pooling: Pooling,
  examples: readonly Encoded[],
): Promise<Standards> {
  const graph = createGraph("router standards");
  const prompt = promptIn(graph, architecture);
  const layers: string[] = [];
  const enterLayer = (layer: string, x: Float) => {
    layers.push(layer);
    graph.output(layer, pooled(x, prompt, pooling));
  };
  readPrompt(graph, architecture, { ...seams(graph), enterLayer });
  await using session = await Session.load(graph, { engine });
  const rows = new Map(layers.map((layer): [string, Float32Array[]] => [layer, []]));
  for (const batch of chunks(sampled(examples), BATCH)) {
    const states = await session.run(collate(batch, architecture).feeds);
    for (const [layer, known] of rows) known.push(...rowVectors(states[layer] as HostTensor<"float32">));
  }
  return new Map([...rows].map(([layer, states]) => [layer, standardOf(states)]));
}

/** A random sample of the items; it is always the same. */
export function sampled<T>(many: readonly T[]): readonly T[] {
  return shuffled(many, seededRandom(derivedSeed("router standards"))).slice(0, SAMPLE);
}

/** The rows of a matrix on the host. */
export function rowVectors({ data, shape }: HostTensor<"float32">): Float32Array[] {
  const width = shape[1]!;
  return Array.from({ length: shape[0]! }, (_, row) => data.slice(row * width, (row + 1) * width));
}

/** The standard of a sample. */
export function standardOf(states: readonly Float32Array[]): Standard {
  const hidden = states[0]!.length;
  const mean = float32([hidden]);
  for (let i = 0; i < hidden; i++) mean.data[i] = states.reduce((sum, state) => sum + state[i]!, 0) / states.length;
  const sample = hidden <= EXACT ? states : states.slice(0, EXACT);
  const centerd = new Float64Array(sample.length * hidden);
  sample.forEach((state, row) => {
    state.forEach((value, i) => {
      centerd[row * hidden + i] = (value - mean.data[i]!) / Math.sqrt(sample.length);
    });
  });
  const { values, right } = truncatedSvd(centerd, { out: sample.length, in: hidden }, hidden);
  const deviations = values.filter((value) => value > 0 && value >= LEAST * values[0]!);
  const directions = fromRows(right.slice(0, deviations.length));
  return { mean, directions, deviations: float32([deviations.length], deviations), rest: deviations.at(-1) ?? 1 };
}

/** T (h - mean) in a graph. h: [batch, hidden] -> [batch, hidden] */
export function whitenedIn(h: Float, { mean, directions, deviations, rest }: Standard): Float {
  const { graph } = h;
  const centerd = sub(h, graph.constant(mean));
  const plain = mul(centerd, 1 / rest);
  if (deviations.data.length === 0) return plain;
  const basis = graph.constant(directions);
  const factors = float32(
    deviations.shape,
    deviations.data.map((deviation) => 1 / deviation - 1 / rest),
  );
  return add(plain, matmul(mul(matmul(centerd, basis, { transB: true }), graph.constant(factors)), basis));
}

/** T (h - mean) on the host. state: [hidden] */
export function whitened(state: Float32Array, standard: Standard): Float32Array {
  const centerd = state.map((value, i) => value - standard.mean.data[i]!);
  return stretched(centerd, standard, (deviation) => 1 / deviation);
}

/** A vector times the symmetric matrix that scales each direction by `factor` of its deviation. */
function stretched(vector: Float32Array, { directions, deviations, rest }: Standard, factor: (deviation: number) => number): Float32Array {
  const common = factor(rest);
  const result = Float64Array.from(vector, (value) => common * value);
  deviations.data.forEach((deviation, i) => {
    const along = (factor(deviation) - common) * dot(directions.data, i, vector);
    for (let j = 0; j < result.length; j++) result[j]! += along * directions.data[i * result.length + j]!;
  });
  return Float32Array.from(result);
}

/** Converts a router on h to one on whitened h with the same scores. */
export function standardized({ weight, bias }: MoaRouter, standard: Standard): MoaRouter {
  return {
    weight: eachRow(weight, (row) => stretched(row, standard, (deviation) => deviation)),
    bias: float32(
      bias.shape,
      bias.data.map((value, d) => value + dot(weight.data, d, standard.mean.data)),
    ),
  };
}

/** The inverse. */
export function plainRouter({ weight, bias }: MoaRouter, standard: Standard): MoaRouter {
  const plain = eachRow(weight, (row) => stretched(row, standard, (deviation) => 1 / deviation));
  return {
    weight: plain,
    bias: float32(
      bias.shape,
      bias.data.map((value, d) => value - dot(plain.data, d, standard.mean.data)),
    ),
  };
}

function eachRow(matrix: HostTensor<"float32">, change: (row: Float32Array) => Float32Array): HostTensor<"float32"> {
  return float32(matrix.shape, Float32Array.from(rowVectors(matrix).flatMap((row) => [...change(row)])));
}

/** Row d of a matrix times a vector. */
function dot(matrix: Float32Array, d: number, vector: Float32Array): number {
  return vector.reduce((sum, value, i) => sum + value * matrix[d * vector.length + i]!, 0);
}
