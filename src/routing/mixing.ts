/** @file The routing functions of a kind of adapter: how experts of that kind are stacked, and how they are mixed. */

import type { Adapter } from "../adapters/adapter.ts";
import type { HostTensor } from "../base/tensor.ts";
import { type Precision, precisionOf } from "../checkpoint/copy-numbers.ts";
import type { OpAttributes } from "../graph/operators.ts";
import { toFloat } from "../graph/ops/elementwise.ts";
import { matmul } from "../graph/ops/linalg.ts";
import { flattenRows, reshape } from "../graph/ops/movement.ts";
import { flattened } from "../graph/sizes.ts";
import type { Float, Value } from "../graph/value.ts";
import type { Numbers } from "./records.ts";
import type { Route } from "./router.ts";

/** The shapes of one expert's factors, by name. */
export type Factors = Readonly<Record<string, readonly number[]>>;

/** How the numbers of experts are held in memory. */
export interface Holding {
  /** Of the matrices; vectors are float32. It is that of the experts' files where all have one, so that a stack takes as many bytes as they. */
  readonly precision: Precision;
  /** Whether each expert's scaling is a factor of its own, `scaling` []. Otherwise it is folded into the others. */
  readonly scaled: boolean;
}
export const WIDE: Holding = { precision: "float32", scaled: false };

/** The precision in which a stack of these matrices is held. */
export function commonPrecision(matrices: readonly HostTensor<"float32">[]): Precision {
  const [first, ...others] = new Set(matrices.map(precisionOf));
  return first === undefined || others.length > 0 ? "float32" : first;
}

/** The stack of one module's adapters. */
export interface FactorShape extends Holding {
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
  /** A stacked vector or number of the experts: [experts, ...shape]. */
  readonly vector: (name: string) => Float;
  /** A stacked matrix of the experts, in the precision of the stack: [experts, ...shape]. */
  readonly matrix: (name: string) => Matrices;
}

/** The stacked matrices of experts: [experts, rows, columns]. */
export type Matrices = Value<Precision>;

export interface Mixing<Weights> {
  form(weights: Weights): string;
  /** How a stack of these holds its numbers. */
  holding(weights: readonly Weights[]): Holding;
  /** The layout with room for each of `weights`. */
  factors(weights: readonly Weights[], size: { readonly in: number; readonly out: number }): Factors;
  /** Writes one expert into its records, which are zero before. */
  fill(weights: Weights, records: Filled, shape: FactorShape): void;
  /** The projection with its experts mixed in: [batch, sequence, out]. */
  project(options: MixOptions): Float;
}

/** The records of one expert that are filled: vectors are Float32Arrays, matrices may be bits. */
export interface Filled {
  readonly vectors: Readonly<Record<string, Float32Array>>;
  readonly matrices: Readonly<Record<string, Numbers>>;
}

/** sum_j w_j F_j. weights: [batch, 1, experts], factor: [experts, ...shape] -> [batch, ...shape] */
export function meanFactor(weights: Float, factor: Matrices): Float {
  const [experts, ...shape] = factor.shape;
  const flat = toFloat(reshape(factor, experts!, flattened(shape)));
  return reshape(matmul(weights, flat), weights.shape[0]!, ...shape);
}

/** The factors of two-layer experts: a [experts, rank, in], aBias [experts, rank], b [experts, rank, out], bBias [experts, out]. */
export interface Layers {
  readonly a: Matrices;
  readonly aBias?: Float | undefined;
  readonly b: Matrices;
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

/** Writes the rows of `from` [rows, length] into the columns of `to` [length or more, rows], times a factor. Bits have no factor. */
export function fillColumns(to: Numbers, from: Numbers, { rows, factor = 1 }: { readonly rows: number; readonly factor?: number }): void {
  if (to instanceof Uint16Array) transposeBits(to, from as Uint16Array, rows);
  else transposeNumbers(to, from as Float32Array, rows, factor);
}

// Four rows at once take half the time of one. One function for each kind of array: a function that sees both is slower.
function transposeNumbers(to: Float32Array, from: Float32Array, rows: number, factor: number): void {
  const length = from.length / rows;
  let row = 0;
  for (; row + 4 <= rows; row += 4) {
    for (let i = 0; i < length; i++) {
      const write = i * rows + row;
      const read = row * length + i;
      to[write] = from[read]! * factor;
      to[write + 1] = from[read + length]! * factor;
      to[write + 2] = from[read + 2 * length]! * factor;
      to[write + 3] = from[read + 3 * length]! * factor;
    }
  }
  for (; row < rows; row++) for (let i = 0; i < length; i++) to[i * rows + row] = from[row * length + i]! * factor;
}

function transposeBits(to: Uint16Array, from: Uint16Array, rows: number): void {
  const length = from.length / rows;
  let row = 0;
  for (; row + 4 <= rows; row += 4) {
    for (let i = 0; i < length; i++) {
      const write = i * rows + row;
      const read = row * length + i;
      to[write] = from[read]!;
      to[write + 1] = from[read + length]!;
      to[write + 2] = from[read + 2 * length]!;
      to[write + 3] = from[read + 3 * length]!;
    }
  }
  for (; row < rows; row++) for (let i = 0; i < length; i++) to[i * rows + row] = from[row * length + i]!;
}
