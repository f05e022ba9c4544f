/** @file The comparison of an expert's vector v with a token u, and the scaling of scores: the options that routers share.
 *
 *      s = norm(v)ᵀ norm(u) / T (/ sqrt(n))           n: the module's input width
 *
 *      norm(u) = (u - mean u) / sqrt(var u + 1e-5)    "layer": layer norm without affine part
 *                u / (||u|| + 1e-6)                   "unit": s is the cosine
 *                u                                    "none"
 *
 *  The epsilons are the PHATGOOSE authors' (r-three/phatgoose, src/models/addons/moe.py:396-422). */

import { type HostTensor, madeOnDemand, numbersOnce, withShape } from "../base/tensor.ts";
import { add, div, mul, sqrt, square } from "../graph/ops/elementwise.ts";
import { matmul } from "../graph/ops/linalg.ts";
import { reduceSum, standardize } from "../graph/ops/reduce.ts";
import type { Float } from "../graph/value.ts";

export const NORMALIZATIONS = ["layer", "unit", "none"] as const;
export type Normalization = (typeof NORMALIZATIONS)[number];

export interface Scaling {
  /** The divisor of scores. */
  readonly temperature: number;
  /** Whether scores are also divided by the square root of the module's input width. */
  readonly scaleBySqrt: boolean;
}
export interface Comparison extends Scaling {
  readonly normalize: Normalization;
}

// Inside the square root, as in the authors' layer norm. It reduces the scores of gates that hardly changed in training.
const EPSILON = 1e-5;
// Added to the norm.
const UNIT_EPSILON = 1e-6;

/** The factor on scores at a module with input width `width`. */
export function scaleOf({ temperature, scaleBySqrt }: Scaling, width: number): number {
  return 1 / temperature / (scaleBySqrt ? Math.sqrt(width) : 1);
}

/** A comparison as text, for the keys of graphs. */
export function comparisonKey({ temperature, scaleBySqrt, normalize }: Comparison): string {
  return `${normalize} T=${temperature} sqrt=${scaleBySqrt}`;
}

/** The scores of tokens against normalized prototypes.
 *  x: [batch, sequence, in], prototypes: [experts, in] -> [batch, sequence, experts] */
export function comparedScores(x: Float, prototypes: Float, { normalize, ...scaling }: Comparison): Float {
  if (normalize !== "layer") return products(normalize === "unit" ? unit(x) : x, prototypes, scaling);
  // The factor is part of the layer norm's scale, since the engine's fastest product for one row has no factor.
  return matmul(standardize(x, EPSILON, scaleOf(scaling, x.shape.at(-1) as number)), prototypes, { transB: true });
}

/** v_zᵀ u, scaled. x: [batch, sequence, in], prototypes: [experts, in] -> [batch, sequence, experts] */
export function products(x: Float, prototypes: Float, scaling: Scaling): Float {
  return matmul(x, prototypes, { transB: true, alpha: scaleOf(scaling, x.shape.at(-1) as number) });
}

/** u / (||u|| + 1e-6) over the last axis. */
function unit(x: Float): Float {
  return div(x, add(sqrt(reduceSum(square(x))), UNIT_EPSILON));
}

/** An expert's vector, normalized on the host when it is read: [in] -> [1, in]. */
export function normalized(vector: HostTensor<"float32">, how: Normalization): HostTensor<"float32"> {
  const shape = [1, vector.shape[0]!];
  return how === "none" ? withShape(vector, shape) : madeOnDemand(shape, () => normalizedNumbers(numbersOnce(vector), how));
}

function normalizedNumbers(data: Float32Array, how: "layer" | "unit"): Float32Array {
  const n = data.length;
  const mean = how === "unit" ? 0 : sumOf(data) / n;
  const squares = squaresAround(data, mean);
  const divisor = how === "unit" ? Math.sqrt(squares) + UNIT_EPSILON : Math.sqrt(squares / n + EPSILON);
  const numbers = new Float32Array(n);
  for (let i = 0; i < n; i++) numbers[i] = (data[i]! - mean) / divisor;
  return numbers;
}

// Plain loops: with 166 experts the numbers are many, and a call for each of them takes ten times as long.
function sumOf(data: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum += data[i]!;
  return sum;
}

function squaresAround(data: Float32Array, mean: number): number {
  let sum = 0;
  for (let i = 0; i < data.length; i++) {
    const distance = data[i]! - mean;
    sum += distance * distance;
  }
  return sum;
}

/** Scales `scores`, for routers that do not compute them as a product. */
export function scaled(scores: Float, scaling: Scaling, width: number): Float {
  const scale = scaleOf(scaling, width);
  return scale === 1 ? scores : mul(scores, scale);
}
