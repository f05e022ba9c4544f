/** @file Shape inference: the dtype and shape of each operator's outputs, from those of its operands. Total by type. */

import { invariant, ShapeError } from "../base/errors.ts";
import type { OpAttributes, OpType } from "./operators.ts";
import { axisOf, broadcast, type DType, productOf, type Shape, type Size, show } from "./sizes.ts";
import type { Value } from "./value.ts";

export interface TensorType {
  readonly dtype: DType;
  readonly shape: Shape;
}
type Operands = readonly Value[];
type ShapeRule<Op extends OpType> = (operands: Operands, attributes: OpAttributes[Op], op: Op) => readonly TensorType[];

/** The outputs' types; throws a ShapeError when the operands do not fit. */
export function inferred<Op extends OpType>(
  op: Op,
  inputs: readonly (Value | undefined)[],
  attributes: OpAttributes[Op],
): readonly TensorType[] {
  const rule = RULES[op] as ShapeRule<Op>;
  return rule(inputs as Operands, attributes, op);
}

function fail(op: string, operands: Operands, why: string): never {
  throw new ShapeError({
    code: "shape-operands",
    what: `${op}: ${why}: ${operands.map(show).join(", ")}.`,
    fix: "Compare the operands' shapes with the operator's documentation.",
  });
}

const at = (operands: Operands, index: number): Value => {
  const value = operands[index];
  invariant(value, `operand ${index} is missing`);
  return value;
};

const sameAs: ShapeRule<OpType> = (operands) => [{ dtype: at(operands, 0).dtype, shape: at(operands, 0).shape }];
const binary: ShapeRule<OpType> = (operands, _, op) => {
  const [a, b] = [at(operands, 0), at(operands, 1)];
  if (a.dtype !== b.dtype) fail(op, operands, "dtypes differ");
  return [{ dtype: a.dtype, shape: broadcast(op, a.shape, b.shape) }];
};
const comparison: ShapeRule<OpType> = (operands, attributes, op) => [{ dtype: "bool", shape: binary(operands, attributes, op)[0]!.shape }];

const reduction: ShapeRule<"ReduceSum" | "ReduceMean" | "ReduceMax"> = (operands, { axes, keep }) => {
  const x = at(operands, 0);
  const reduced = new Set(axes.map((axis) => axisOf(x.shape, axis)));
  const shape = x.shape.flatMap((size, axis) => (reduced.has(axis) ? (keep ? [1] : []) : [size]));
  return [{ dtype: x.dtype, shape }];
};

const withSize = (shape: Shape, axis: number, size: Size): Shape => shape.map((old, i) => (i === axisOf(shape, axis) ? size : old));

/** The int64 behind a constant scalar or one-element operand. */
function knownInteger(value: Value): number | undefined {
  const tensor = value.graph.constantOf(value);
  return tensor && tensor.data.length === 1 ? Number(tensor.data[0]) : undefined;
}

function slicedSize(x: Value, axis: number, start: Value, end: Value, size: string | undefined): Size {
  const full = x.shape[axisOf(x.shape, axis)]!;
  const [from, to] = [knownInteger(start), knownInteger(end)];
  if (typeof full === "number" && from !== undefined && to !== undefined) {
    const clamp = (i: number) => Math.min(Math.max(i < 0 ? i + full : i, 0), full);
    return Math.max(clamp(to) - clamp(from), 0);
  }
  invariant(size, `Slice of the named size "${full}" needs a name for its result`);
  return size;
}

function concatenated(operands: Operands, axis: number, size: string | undefined): Size {
  const sizes = operands.map(({ shape }) => shape[axisOf(shape, axis)]!);
  if (sizes.every((s) => typeof s === "number")) return sizes.reduce((sum, s) => sum + s, 0);
  return size ?? sizes.join("+");
}

function matmulShape(operands: Operands, { transA, transB }: OpAttributes["MatMul"]): Shape {
  const [a, b] = [at(operands, 0).shape, at(operands, 1).shape];
  if (a.length < 2 || b.length < 2) fail("MatMul", operands, "operands need at least two axes");
  const last = (shape: Shape, transposed: boolean): [Size, Size] => {
    const [rows, columns] = [shape.at(-2)!, shape.at(-1)!];
    return transposed ? [columns, rows] : [rows, columns];
  };
  const [[rows, inner], [inner2, columns]] = [last(a, transA), last(b, transB)];
  if (inner !== inner2) {
    throw new ShapeError({
      code: "shape-operands",
      what: `MatMul: inner sizes differ: ${show(at(operands, 0))}${transA ? "ᵀ" : ""} @ ${show(at(operands, 1))}${transB ? "ᵀ" : ""}.`,
      fix: "Hugging Face stores linear weights [out, in]: transpose b, or use the architecture's linear().",
    });
  }
  return [...broadcast("MatMul", a.slice(0, -2), b.slice(0, -2)), rows, columns];
}

const RULES: { readonly [Op in OpType]: ShapeRule<Op> } = {
  Add: binary,
  Sub: binary,
  Mul: binary,
  Div: binary,
  Max: binary,
  Min: binary,
  Neg: sameAs,
  Abs: sameAs,
  Sign: sameAs,
  Sqrt: sameAs,
  Exp: sameAs,
  Log: sameAs,
  Sin: sameAs,
  Cos: sameAs,
  Tanh: sameAs,
  Sigmoid: sameAs,
  Erf: sameAs,
  Relu: sameAs,
  QuickGelu: sameAs,
  FastGelu: sameAs,
  Cast: (operands, { to }) => [{ dtype: to, shape: at(operands, 0).shape }],
  BitCast: (operands, { to }) => [{ dtype: to, shape: at(operands, 0).shape }],
  Equal: comparison,
  Less: comparison,
  LessOrEqual: comparison,
  And: comparison,
  Or: comparison,
  Not: sameAs,
  Where: (operands) => {
    const [condition, a, b] = [at(operands, 0), at(operands, 1), at(operands, 2)];
    if (condition.dtype !== "bool" || a.dtype !== b.dtype) fail("Where", operands, "wants bool, T, T");
    return [{ dtype: a.dtype, shape: broadcast("Where", condition.shape, broadcast("Where", a.shape, b.shape)) }];
  },
  ReduceSum: reduction,
  ReduceMean: reduction,
  ReduceMax: reduction,
  CumSum: sameAs,
  TopK: (operands, { k }) => {
    const x = at(operands, 0);
    const shape = withSize(x.shape, -1, k);
    return [
      { dtype: x.dtype, shape },
      { dtype: "int64", shape },
    ];
  },
  Reshape: (operands, { shape }) => {
    const x = at(operands, 0);
    const [before, after] = [productOf(x.shape), productOf(shape)];
    if (before.count !== after.count || before.names !== after.names) fail("Reshape", operands, `cannot become [${shape.join(", ")}]`);
    return [{ dtype: x.dtype, shape }];
  },
  Expand: (operands, { shape }) => {
    const x = at(operands, 0);
    if (String(broadcast("Expand", x.shape, shape)) !== String(shape)) fail("Expand", operands, `cannot become [${shape.join(", ")}]`);
    return [{ dtype: x.dtype, shape }];
  },
  Transpose: (operands, { order }) => {
    const x = at(operands, 0);
    if (order.length !== x.shape.length) fail("Transpose", operands, `order [${order}] has another rank`);
    return [{ dtype: x.dtype, shape: order.map((axis) => x.shape[axis]!) }];
  },
  Concat: (operands, { axis, size }) => {
    const first = at(operands, 0);
    const place = axisOf(first.shape, axis);
    for (const { shape, dtype } of operands) {
      const fits =
        dtype === first.dtype && shape.length === first.shape.length && shape.every((s, i) => i === place || s === first.shape[i]);
      if (!fits) fail("Concat", operands, `shapes differ outside axis ${axis}`);
    }
    return [{ dtype: first.dtype, shape: withSize(first.shape, axis, concatenated(operands, axis, size)) }];
  },
  Slice: (operands, { axis, size }) => {
    const x = at(operands, 0);
    return [{ dtype: x.dtype, shape: withSize(x.shape, axis, slicedSize(x, axis, at(operands, 1), at(operands, 2), size)) }];
  },
  Pad: (operands, { axis, before, after }) => {
    const x = at(operands, 0);
    const size = x.shape[axisOf(x.shape, axis)]!;
    if (typeof size !== "number") fail("Pad", operands, `axis ${axis} has a named size`);
    return [{ dtype: x.dtype, shape: withSize(x.shape, axis, size + before + after) }];
  },
  Gather: (operands, { axis }) => {
    const [x, index] = [at(operands, 0), at(operands, 1)];
    const place = axisOf(x.shape, axis);
    return [{ dtype: x.dtype, shape: [...x.shape.slice(0, place), ...index.shape, ...x.shape.slice(place + 1)] }];
  },
  GatherElements: (operands) => [{ dtype: at(operands, 0).dtype, shape: at(operands, 1).shape }],
  ScatterND: sameAs,
  ScatterElements: sameAs,
  ShapeOf: () => [{ dtype: "int64", shape: [1] }],
  Range: (_, { size }) => [{ dtype: "int64", shape: [size] }],
  MatMul: (operands, attributes) => [{ dtype: "float32", shape: matmulShape(operands, attributes) }],
  Softmax: sameAs,
  LogSoftmax: sameAs,
  LayerNormalization: sameAs,
  SimplifiedLayerNormalization: (operands) => {
    const x = at(operands, 0);
    return [
      { dtype: x.dtype, shape: x.shape },
      { dtype: x.dtype, shape: withSize(x.shape, -1, 1) },
    ];
  },
  RotaryEmbedding: sameAs,
  Int8MatMul: (operands, _, op) => {
    const [x, values, scales] = [at(operands, 0), at(operands, 1), at(operands, 2)];
    const [inputs, out] = values.shape;
    if (x.shape.at(-1) !== inputs || String(scales.shape) !== String([out])) fail(op, operands, "wants [..., in], [in, out], [out]");
    return [{ dtype: "float32", shape: withSize(x.shape, -1, out!) }];
  },
  QuantizeLinear: (operands) => [{ dtype: "uint8", shape: at(operands, 0).shape }],
  MatMulIntegerToFloat: (operands) => [{ dtype: "float32", shape: withSize(at(operands, 0).shape, -1, at(operands, 1).shape[1]!) }],
  MatMulNBits: (operands, { in: inputs, out, block }, op) => {
    const [x, values, scales] = [at(operands, 0), at(operands, 1), at(operands, 2)];
    const blocks = Math.ceil(inputs / block);
    const fits =
      x.shape.at(-1) === inputs &&
      String(values.shape) === String([out, blocks, block / 2]) &&
      String(scales.shape) === String([out, blocks]);
    if (!fits) fail(op, operands, `wants [..., ${inputs}], [${out}, ${blocks}, ${block / 2}], [${out}, ${blocks}]`);
    return [{ dtype: "float32", shape: withSize(x.shape, -1, out) }];
  },
  DequantizeLinear: (operands) => [{ dtype: "float32", shape: at(operands, 0).shape }],
  Mixture: (operands, _, op) => {
    const [x, experts, weights, a, , b] = [0, 1, 2, 3, 4, 5].map((i) => operands[i]);
    const [, inputs] = x!.shape;
    const [count, rank, out] = b!.shape;
    if (String(a!.shape) !== String([count, rank, inputs])) fail(op, [a!, b!], `wants [E, r, ${inputs}], [E, r, out]`);
    if (String(experts!.shape) !== String(weights!.shape)) fail(op, [experts!, weights!], "wants [rows, k], [rows, k]");
    return [{ dtype: "float32", shape: [x!.shape[0]!, out!] }];
  },
};
