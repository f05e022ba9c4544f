/** @file How each operator is written as an ONNX node: type, domain, attributes, and the constants that ONNX takes as inputs.
 *  Reference: onnx.ai/onnx/operators at opset 21 and ONNX Runtime's docs/ContribOperators.md. Total by type. */

import type { OpAttributes, OpType } from "../operators.ts";
import type { DType } from "../sizes.ts";

/** The version of ONNX's operators, and the later one of graphs with an operator that is new in it. */
export const OPSET = 21;
export const NEWER: Readonly<Partial<Record<OpType, number>>> = { BitCast: 26 };

/** ONNX's TensorProto.DataType. */
export const ONNX_DTYPES: Readonly<Record<DType, number>> = {
  float32: 1,
  uint8: 2,
  int8: 3,
  int32: 6,
  int64: 7,
  bool: 9,
  uint4: 21,
  float16: 10,
  bfloat16: 16,
  uint16: 4,
};

export type OnnxAttribute =
  | { readonly int: number }
  | { readonly float: number }
  | { readonly string: string }
  | { readonly ints: readonly number[] };
export interface OnnxNode {
  readonly type?: string;
  readonly domain?: "com.microsoft";
  readonly attributes?: Readonly<Record<string, OnnxAttribute>>;
  /** How many operands are written, where the rest serve only the gradient. */
  readonly operands?: number;
  /** int64 constants appended to the operands; null leaves an optional input out. A bare number is a scalar. */
  readonly constants?: readonly (readonly number[] | number | null)[];
}
type Encoding<Op extends OpType> = (attributes: OpAttributes[Op]) => OnnxNode;

const plain = (): OnnxNode => ({});
const axisAttribute = ({ axis }: { axis: number }): OnnxNode => ({ attributes: { axis: { int: axis } } });
const reduction = ({ axes, keep }: OpAttributes["ReduceSum"]): OnnxNode => ({
  // Without the second attribute, ONNX reads an empty list of axes as all axes.
  attributes: { keepdims: { int: Number(keep) }, noop_with_empty_axes: { int: 1 } },
  constants: [axes],
});

export const ENCODINGS: { readonly [Op in OpType]: Encoding<Op> } = {
  Add: plain,
  Sub: plain,
  Mul: plain,
  Div: plain,
  Max: plain,
  Min: plain,
  Neg: plain,
  Abs: plain,
  Sign: plain,
  Sqrt: plain,
  Exp: plain,
  Log: plain,
  Sin: plain,
  Cos: plain,
  Tanh: plain,
  Sigmoid: plain,
  Erf: plain,
  Relu: plain,
  QuickGelu: ({ alpha }) => ({ domain: "com.microsoft", attributes: { alpha: { float: alpha } } }),
  FastGelu: () => ({ domain: "com.microsoft" }),
  Cast: ({ to }) => ({ attributes: { to: { int: ONNX_DTYPES[to] } } }),
  BitCast: ({ to }) => ({ attributes: { to: { int: ONNX_DTYPES[to] } } }),
  Equal: plain,
  Less: plain,
  LessOrEqual: plain,
  And: plain,
  Or: plain,
  Not: plain,
  Where: plain,
  ReduceSum: reduction,
  ReduceMean: reduction,
  ReduceMax: reduction,
  CumSum: ({ axis }) => ({ constants: [axis] }),
  TopK: ({ k }) => ({ constants: [[k]] }),
  Reshape: plain,
  Expand: plain,
  Transpose: ({ order }) => ({ attributes: { perm: { ints: order } } }),
  Concat: axisAttribute,
  Slice: ({ axis }) => ({ constants: [[axis]] }),
  Pad: ({ axis, before, after }) => ({ constants: [[before, after], null, [axis]] }),
  Gather: axisAttribute,
  GatherElements: axisAttribute,
  ScatterND: () => ({ attributes: { reduction: { string: "add" } } }),
  ScatterElements: ({ axis }) => ({ attributes: { axis: { int: axis }, reduction: { string: "add" } } }),
  // Counted from the back, the end after axis -1 would be 0, which ONNX reads as the first axis.
  ShapeOf: ({ axis }) => ({ type: "Shape", attributes: { start: { int: axis }, ...(axis === -1 ? {} : { end: { int: axis + 1 } }) } }),
  Range: plain,
  MatMul: ({ transA, transB, alpha }) =>
    !transA && !transB && alpha === 1
      ? {}
      : {
          type: "FusedMatMul",
          domain: "com.microsoft",
          attributes: { transA: { int: Number(transA) }, transB: { int: Number(transB) }, alpha: { float: alpha } },
        },
  Softmax: axisAttribute,
  LogSoftmax: axisAttribute,
  LayerNormalization: ({ epsilon }) => ({ attributes: { axis: { int: -1 }, epsilon: { float: epsilon } } }),
  SimplifiedLayerNormalization: ({ epsilon }) => ({ attributes: { axis: { int: -1 }, epsilon: { float: epsilon } } }),
  RotaryEmbedding: () => ({ domain: "com.microsoft" }),
  Int8MatMul: plain, // no engine has it, so it is always lowered
  QuantizeLinear: plain,
  MatMulIntegerToFloat: () => ({ domain: "com.microsoft" }),
  // Level 4 rounds activations to 8 bits in blocks; the level for float activations is several times slower.
  MatMulNBits: ({ in: inputs, out, block }) => ({
    operands: 4,
    domain: "com.microsoft",
    attributes: { K: { int: inputs }, N: { int: out }, bits: { int: 4 }, block_size: { int: block }, accuracy_level: { int: 4 } },
  }),
  DequantizeLinear: ({ block }) => ({ attributes: { axis: { int: -1 }, ...(block && { block_size: { int: block } }) } }),
  Mixture: plain, // no engine has it, so it is always lowered
};
