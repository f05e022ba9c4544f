/** @file The routing functions of a kind of adapter: how experts of that kind are stacked, and how they are mixed. */

import type { Adapter } from "../adapters/adapter.ts";
import { addInt, subInt } from "../graph/ops/elementwise.ts";
import { matmul } from "../graph/ops/linalg.ts";
import { flattenRows, gather, range, reshape, sizeOf } from "../graph/ops/movement.ts";
import { flattened } from "../graph/sizes.ts";
import type { Float, Int } from "../graph/value.ts";
import type { Router } from "./router.ts";

/** The shapes of one expert's factors, by name. */
export type Factors = Readonly<Record<string, readonly number[]>>;

/** The stack of one module's adapters. */
export interface FactorShape {
  readonly kind: Adapter["kind"];
  /** The form that all experts of a module must share, as text. */
  readonly form: string;
  readonly in: number;
  readonly out: number;
  readonly factors: Factors;
}
/** The stack with what a router adds. */
export interface ModuleShape extends FactorShape {
  /** Rows of a prototype. */
  readonly rows: number;
  /** Whether an expert is not a candidate here. */
  readonly barred: boolean;
}

export interface MixOptions {
  /** [batch, sequence, in] */
  readonly x: Float;
  /** The projection without experts. */
  readonly base: (x: Float) => Float;
  /** [batch, sequence or 1, experts], in the stack's order. */
  readonly scores: Float;
  readonly topK: number;
  readonly mixes: Router["mixes"];
  readonly shape: ModuleShape;
  /** A stacked factor of the experts: [experts, ...shape]. */
  readonly factor: (name: string) => Float;
}

export interface Mixing<Weights> {
  form(weights: Weights): string;
  /** The layout with room for each of `weights`. */
  factors(weights: readonly Weights[], size: { readonly in: number; readonly out: number }): Factors;
  /** Writes one expert into its records, which are zero before. */
  fill(weights: Weights, records: Readonly<Record<string, Float32Array>>, shape: FactorShape): void;
  /** The projection with its experts mixed in: [batch, sequence, out]. */
  project(options: MixOptions): Float;
}

/** Reverses the last axis, over experts, between the stack's order and the pool's. */
export function reversed(values: Float): Float {
  return gather(values, reversedIndex(range(values.graph, "experts")), -1);
}

/** Converts an expert's index between the stack and the pool. */
export function reversedIndex(experts: Int): Int {
  return subInt(addInt(sizeOf(experts.graph, "experts"), -1), experts);
}

/** sum_j w_j F_j. weights: [batch, 1, experts], factor: [experts, ...shape] -> [batch, ...shape] */
export function meanFactor(weights: Float, factor: Float): Float {
  const [experts, ...shape] = factor.shape;
  const flat = reshape(factor, experts!, flattened(shape));
  return reshape(matmul(weights, flat), weights.shape[0]!, ...shape);
}

/** The fused mixture of two-layer experts, computed on rows. x: [batch, sequence, n] -> [batch, sequence, n] */
export function fusedMixture(
  x: Float,
  scores: Float,
  layers: readonly [a: Float, aBias: Float | undefined, b: Float, bBias: Float | undefined],
  attributes: { readonly k: number; readonly activation?: "relu" | "gelu" | "silu" },
): Float {
  const operands = layers[3] ? layers : layers.slice(0, 3);
  const sum = x.graph.apply("MoE", [flattenRows(x), flattenRows(scores), ...operands], attributes)[0] as Float;
  return reshape(sum, ...x.shape);
}

/** Copies the rows of `from` [count, length] to the start of the wider rows of `to`. */
export function fillRows(to: Float32Array, from: Float32Array, { length, width }: { length: number; width: number }): void {
  for (let row = 0; row * length < from.length; row++) to.set(from.subarray(row * length, (row + 1) * length), row * width);
}
