/** @file The operators a graph is made of, with their attributes. Every table about operators (shape, gradient,
 *  serialization) is keyed by `OpType` and total by type: a new operator does not compile until each has its line.
 *
 *  Names are ONNX's own where the operator is ONNX's (https://onnx.ai/onnx/operators) or ONNX Runtime's
 *  (docs/ContribOperators.md). Two are ours to keep graphs readable: `MatMul` covers FusedMatMul, and axes are
 *  attributes even where ONNX wants them as an input. */

import type { DType, Shape } from "./sizes.ts";

type None = Readonly<Record<never, never>>;
interface Axis {
  readonly axis: number;
}
interface Reduction {
  readonly axes: readonly number[];
  readonly keep: boolean;
}

export interface OpAttributes {
  // elementwise, two operands
  Add: None;
  Sub: None;
  Mul: None;
  Div: None;
  Max: None;
  Min: None;
  // elementwise, one operand
  Neg: None;
  Abs: None;
  Sign: None;
  Sqrt: None;
  Exp: None;
  Log: None;
  Sin: None;
  Cos: None;
  Tanh: None;
  Sigmoid: None;
  Erf: None;
  Relu: None;
  /** x * sigmoid(alpha x); alpha 1 is SiLU. */
  QuickGelu: { readonly alpha: number };
  /** The tanh form of GELU ("gelu_new", "gelu_pytorch_tanh"). */
  FastGelu: None;
  Cast: { readonly to: DType };
  // comparison and choice
  Equal: None;
  Less: None;
  LessOrEqual: None;
  And: None;
  Or: None;
  Not: None;
  Where: None;
  // reductions
  ReduceSum: Reduction;
  ReduceMean: Reduction;
  ReduceMax: Reduction;
  CumSum: Axis;
  TopK: { readonly k: number };
  // movement
  Reshape: { readonly shape: Shape };
  Expand: { readonly shape: Shape };
  Transpose: { readonly order: readonly number[] };
  Concat: Axis & { readonly size?: string };
  Slice: Axis & { readonly size?: string };
  Pad: Axis & { readonly before: number; readonly after: number };
  Gather: Axis;
  GatherElements: Axis;
  /** Operand 0 with rows operand 2 added at the rows operand 1 names; operand 1: [..., 1]. */
  ScatterND: None;
  /** Operand 0 with operand 2 added at operand 1 along `axis`. */
  ScatterElements: Axis;
  ShapeOf: Axis;
  Range: { readonly size: string };
  // linear algebra
  /** alpha op(a) op(b), op transposing the last two axes. */
  MatMul: { readonly transA: boolean; readonly transB: boolean; readonly alpha: number };
  // normalization
  Softmax: Axis;
  LogSoftmax: Axis;
  /** (x - mean) / sqrt(variance + epsilon) * scale (+ bias), over the last axis, biased variance. */
  LayerNormalization: { readonly epsilon: number };
  /** x / sqrt(mean(x^2) + epsilon) * scale over the last axis; the second output is 1 / sqrt(...). */
  SimplifiedLayerNormalization: { readonly epsilon: number };
  // rotary positions
  /** Turns the pairs (x_i, x_{i + size / 2}) of x [batch, heads, sequence, size] by the angles whose cosines and sines stand in the
   *  rows of operands 2 and 3, [rows, size / 2], that operand 1 names: int64 [batch, sequence]. No more tokens a row than the table has rows. */
  RotaryEmbedding: None;
  // fused, inference only
  /** sum_j softmax_k(scores)_j (B_j f(A_j x + a_j) + b_j), k experts a row; f is the identity when absent.
   *  Inputs: x [rows, n], scores [rows, E], A [E, r, n], a [E, r] or none, B [E, n, r], b [E, n] or none. */
  MoE: { readonly k: number; readonly activation?: "relu" | "gelu" | "silu" };
}

export type OpType = keyof OpAttributes;
