/** @file The operators of a graph, with their attributes. Every table about operators (shape, gradient, serialization) is
 *  keyed by `OpType` and total by type: a new operator does not compile until each table has an entry for it.
 *
 *  Operators of ONNX (https://onnx.ai/onnx/operators) and ONNX Runtime (docs/ContribOperators.md) keep their names.
 *  Two differences keep graphs readable: `MatMul` covers FusedMatMul, and axes are attributes even where ONNX takes
 *  them as an input. */

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
  /** The same bits as numbers of another dtype of that width. */
  BitCast: { readonly to: DType };
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
  /** Adds the rows of operand 2 to operand 0, at the row indices in operand 1: [..., 1]. */
  ScatterND: None;
  /** Adds operand 2 to operand 0, at the indices in operand 1 along `axis`. */
  ScatterElements: Axis;
  ShapeOf: Axis;
  Range: { readonly size: string };
  // linear algebra
  /** alpha op(a) op(b); op transposes the last two axes or leaves them. */
  MatMul: { readonly transA: boolean; readonly transB: boolean; readonly alpha: number };
  // normalization
  Softmax: Axis;
  LogSoftmax: Axis;
  /** (x - mean) / sqrt(variance + epsilon) * scale (+ bias), over the last axis, biased variance. */
  LayerNormalization: { readonly epsilon: number };
  /** x / sqrt(mean(x^2) + epsilon) * scale over the last axis; the second output is 1 / sqrt(...). */
  SimplifiedLayerNormalization: { readonly epsilon: number };
  // rotary positions
  /** Rotates the pairs (x_i, x_{i + size / 2}) of x [batch, heads, sequence, size]. Operands 2 and 3, [rows, size / 2], are the tables of
   *  cosines and sines; operand 1, int64 [batch, sequence], is each token's row in them. The sequence is no longer than the tables. */
  RotaryEmbedding: None;
  // weights in fewer bits
  /** x W for W [in, out] = values * scales: operand 0 float [..., in], 1 int8 [in, out], 2 float [out]. Each row of x is rounded to 8 bits by
   *  a scale of its own, so rows do not influence each other. The optional operand 3, int8 [out, in], is the same W, used for the gradient. */
  Int8MatMul: None;
  /** round(x / operand 1) + operand 2, in uint8; operands 1 and 2 are scalars. */
  QuantizeLinear: None;
  /** (a - operand 4) b * operand 2 * operand 3: a uint8 [..., in], b int8 [in, out], a scalar, [out], a uint8 scalar. */
  MatMulIntegerToFloat: None;
  /** x Wᵀ for W [out, in] = scale (q - zero) in blocks of 4 bits. Operand 1: q, uint8 [out, blocks, block / 2]. Operand 2: the scales, float
   *  [out, blocks]. Operand 3: the zeros, uint8 [out, ceil(blocks / 2)]; absent where all are 8. The engine rounds each row of x in blocks too.
   *  Operands 4 and 5 (optional, for the gradient) are operands 1 and 3 as uint4, [out, blocks * block] and [out, 2 ceil(blocks / 2)]. */
  MatMulNBits: { readonly in: number; readonly out: number; readonly block: number };
  /** operand 0 * operand 1, in blocks along the last axis: uint4 [rows, n], float [rows, n / block]. Without blocks, each column has one
   *  factor: int8 [rows, n], float [n]. */
  DequantizeLinear: { readonly block?: number };
  // inference only
  /** sum_j w_j (f(x A_jᵀ + a_j) B_j + b_j) over the k experts of each row; f is the identity when absent. Operands: x [rows, in], the experts
   *  int64 [rows, k], their weights [rows, k], A [E, r, in], a [E, r] or none, B [E, r, out], b [E, out] or none. */
  Mixture: { readonly activation?: "relu" | "gelu" | "silu" };
}

export type OpType = keyof OpAttributes;
