/** @file The routing functions of a kind of adapter: how experts of that kind are stacked, and how they are mixed. */

import type { Adapter } from "../adapters/adapter.ts";
import type { OpAttributes } from "../graph/operators.ts";
import { matmul } from "../graph/ops/linalg.ts";
import { flattenRows, reshape } from "../graph/ops/movement.ts";
import { flattened } from "../graph/sizes.ts";
import type { Float } from "../graph/value.ts";
import type { Route } from "./router.ts";

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

/** What is mixed: the outputs of the experts of each token's route, or the parameters of all experts, with weights [batch, sequence or 1, experts]. */
export type Mixed =
  | ({ readonly mixes: "outputs" } & Pick<Route, "experts" | "weights">)
  | { readonly mixes: "parameters"; readonly weights: Float };

export interface MixOptions {
  /** [batch, sequence, in] */
  readonly x: Float;
  /** The projection without experts. */
  readonly base: (x: Float) => Float;
  readonly mixed: Mixed;
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

/** sum_j w_j F_j. weights: [batch, 1, experts], factor: [experts, ...shape] -> [batch, ...shape] */
export function meanFactor(weights: Float, factor: Float): Float {
  const [experts, ...shape] = factor.shape;
  const flat = reshape(factor, experts!, flattened(shape));
  return reshape(matmul(weights, flat), weights.shape[0]!, ...shape);
}

/** The factors of two-layer experts: a [experts, rank, in], aBias [experts, rank], b [experts, rank, out], bBias [experts, out]. */
export interface Layers {
  readonly a: Float;
  readonly aBias?: Float | undefined;
  readonly b: Float;
  readonly bBias?: Float | undefined;
}

/** sum_j w_j (f(x A_jᵀ + a_j) B_j + b_j) over the k experts of each token. x: [batch, sequence, in] -> [batch, sequence, out] */
export function mixtureOfOutputs(
  x: Float,
  { experts, weights }: Pick<Route, "experts" | "weights">,
  { a, aBias, b, bBias }: Layers,
  attributes: OpAttributes["Mixture"] = {},
): Float {
  const operands = [flattenRows(x), flattenRows(experts), flattenRows(weights), a, aBias, b, ...(bBias ? [bBias] : [])];
  const [batch, sequence] = x.shape;
  return reshape(x.graph.apply("Mixture", operands, attributes)[0] as Float, batch!, sequence!, b.shape[2]!);
}

/** Writes the transposed rows of `from` [rows, length] into the columns of `to` [length or more, rows], times a factor. */
export function fillColumns(
  to: Float32Array,
  from: Float32Array,
  { rows, factor = 1 }: { readonly rows: number; readonly factor?: number },
): void {
  const length = from.length / rows;
  for (let i = 0; i < length; i++) {
    for (let row = 0; row < rows; row++) to[i * rows + row] = from[row * length + i]! * factor;
  }
}
