/** @file Where the routers' inputs lie: mean and deviation of each layer's pooled prompt state, over a sample of the training data.
 *
 *  Pooled states have a large part in common, which drowns what tells domains apart. So routers learn on (h - mean) / deviation,
 *  with R and b in those coordinates. That is a linear layer still, and is stored as one on h itself:
 *
 *      R' = R / deviation        b' = b - R' mean */

import { derivedSeed, seededRandom, shuffled } from "../base/random.ts";
import { float32, type HostTensor } from "../base/tensor.ts";
import { Graph } from "../graph/graph.ts";
import { toFloat } from "../graph/ops/elementwise.ts";
import type { Float } from "../graph/value.ts";
import type { Model } from "../inference/model.ts";
import type { Architecture } from "../models/architecture.ts";
import { baseSeams } from "../models/embedding.ts";
import { fileWeights } from "../models/weights.ts";
import { type MoaRouter, type Pooling, pooled, promptOf, readPrompt } from "../routing/moa.ts";
import { Session } from "../runtime/session.ts";
import { chunks, collate, type Encoded } from "./batches.ts";
import { labelsOf, realLabels } from "./loss.ts";

/** Both [hidden]. */
export interface Standard {
  readonly mean: HostTensor<"float32">;
  readonly deviation: HostTensor<"float32">;
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
const LEAST_DEVIATION = 1e-6;

/** Measures the base model's states before each layer that has a router. */
export async function routerStandards(
  { architecture, checkpoint }: Pick<Model, "architecture" | "checkpoint">,
  pooling: Pooling,
  examples: readonly Encoded[],
): Promise<Standards> {
  const graph = new Graph("router standards");
  const weights = fileWeights(graph, checkpoint);
  const prompt = promptIn(graph, architecture);
  const layers: string[] = [];
  const enterLayer = (layer: string, x: Float) => {
    layers.push(layer);
    graph.output(layer, pooled(x, prompt, pooling));
  };
  readPrompt(graph, architecture, { weights, ...baseSeams(weights), enterLayer });
  await using session = await Session.load(graph);
  const rows = new Map(layers.map((layer): [string, Float32Array[]] => [layer, []]));
  const sample = shuffled(examples, seededRandom(derivedSeed("router standards"))).slice(0, SAMPLE);
  for (const batch of chunks(sample, BATCH)) {
    const states = await session.run(collate(batch, architecture).feeds);
    for (const [layer, known] of rows) known.push(...rowsOf(states[layer] as HostTensor<"float32">));
  }
  return new Map([...rows].map(([layer, states]) => [layer, standardOf(states)]));
}

/** The rows of a matrix on the host. */
export function rowsOf({ data, shape }: HostTensor<"float32">): Float32Array[] {
  const width = shape[1]!;
  return Array.from({ length: shape[0]! }, (_, row) => data.slice(row * width, (row + 1) * width));
}

/** Mean and deviation of each component. */
export function standardOf(states: readonly Float32Array[]): Standard {
  const hidden = states[0]!.length;
  const [mean, deviation] = [float32([hidden]), float32([hidden])];
  for (let i = 0; i < hidden; i++) {
    const average = states.reduce((sum, state) => sum + state[i]!, 0) / states.length;
    const variance = states.reduce((sum, state) => sum + (state[i]! - average) ** 2, 0) / states.length;
    mean.data[i] = average;
    deviation.data[i] = Math.max(Math.sqrt(variance), LEAST_DEVIATION);
  }
  return { mean, deviation };
}

/** A router on h as one on (h - mean) / deviation, that scores the same. */
export function standardized({ weight, bias }: MoaRouter, { mean, deviation }: Standard): MoaRouter {
  const hidden = mean.data.length;
  return {
    weight: float32(
      weight.shape,
      weight.data.map((value, i) => value * deviation.data[i % hidden]!),
    ),
    bias: float32(
      bias.shape,
      bias.data.map((value, d) => value + dot(weight.data, d, mean.data)),
    ),
  };
}

/** The way back. */
export function plainRouter({ weight, bias }: MoaRouter, { mean, deviation }: Standard): MoaRouter {
  const hidden = mean.data.length;
  const plain = float32(
    weight.shape,
    weight.data.map((value, i) => value / deviation.data[i % hidden]!),
  );
  return {
    weight: plain,
    bias: float32(
      bias.shape,
      bias.data.map((value, d) => value - dot(plain.data, d, mean.data)),
    ),
  };
}

/** Row d of a matrix times a vector. */
function dot(matrix: Float32Array, d: number, vector: Float32Array): number {
  return vector.reduce((sum, value, i) => sum + value * matrix[d * vector.length + i]!, 0);
}
