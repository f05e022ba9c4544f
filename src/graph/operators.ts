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
  // weights in fewer bits
  /** x W for W [in, out] = values * scales: operand 0 float [..., in], 1 int8 [in, out], 2 float [out]. Each row of x is rounded to 8 bits by
   *  a scale of its own, so rows do not influence each other. Operand 3, int8 [out, in], is the same W for the gradient, or none. */
  Int8MatMul: None;
  /** round(x / operand 1) + operand 2, in uint8; operands 1 and 2 are scalars. */
  QuantizeLinear: None;
  /** (a - operand 4) b * operand 2 * operand 3: a uint8 [..., in], b int8 [in, out], a scalar, [out], a uint8 scalar. */
  MatMulIntegerToFloat: None;
  /** x Wᵀ for W [out, in] = scale (q - zero) in blocks of 4 bits: operand 1 uint8 [out, blocks, block / 2], 2 float [out, blocks], 3 the zeros
   *  in uint8 [out, ceil(blocks / 2)], or none where all are 8. The engine rounds each row of x by blocks of its own. Operands 4 and 5 are
   *  operands 1 and 3 as uint4, [out, blocks * block] and [out, 2 ceil(blocks / 2)], for the gradient, or none. */
  MatMulNBits: { readonly in: number; readonly out: number; readonly block: number };
  /** operand 0 * operand 1 by blocks along the last axis: uint4 [rows, n], float [rows, n / block]. */
  DequantizeLinear: { readonly block: number };
  // fused, inference only
  /** sum_j softmax_k(scores)_j (B_j f(A_j x + a_j) + b_j), k experts a row; f is the identity when absent.
   *  Inputs: x [rows, n], scores [rows, E], A [E, r, n], a [E, r] or none, B [E, n, r], b [E, n] or none. */
  MoE: { readonly k: number; readonly activation?: "relu" | "gelu" | "silu" };
}

export type OpType = keyof OpAttributes;
