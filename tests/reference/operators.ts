/** @file The definition of every operator in float64, with one line or loop each, without optimization.
 *  Total by type, so that an operator without a definition here does not compile.
 *  References: onnx.ai/onnx/operators and ONNX Runtime's docs/ContribOperators.md. */

import type { OpAttributes, OpType } from "../../src/graph/operators.ts";
import { broadcastAt, broadcastShape, elementAt, flatIndex, type NdArray, ndarray, tabulated } from "./array.ts";

export type Meaning<Op extends OpType> = (inputs: readonly (NdArray | undefined)[], attributes: OpAttributes[Op]) => readonly NdArray[];

const sum = (numbers: readonly number[]): number => numbers.reduce((total, x) => total + x, 0);
const mean = (numbers: readonly number[]): number => sum(numbers) / numbers.length;
const place = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis);
const wrapped = (index: number, size: number): number => (index < 0 ? index + size : index);
const replaced = <T>(items: readonly T[], at: number, item: T): T[] => items.map((old, i) => (i === at ? item : old));

/** erf(x) = 2 / sqrt(pi) exp(-x^2) sum_n 2^n x^(2n+1) / (2n+1)!!, where all terms have the same sign. */
export function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x);
  let [term, total] = [x, x];
  for (let n = 1; n < 200; n++) {
    term *= (2 * x * x) / (2 * n + 1);
    total += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * total;
}
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

const roundedToEven = (x: number): number => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));

const unary =
  (f: (x: number) => number): Meaning<OpType> =>
  ([x]) => [{ ...x!, data: x!.data.map(f) }];
const binary =
  (f: (a: number, b: number) => number, dtype?: "bool"): Meaning<OpType> =>
  ([a, b]) => [
    tabulated(dtype ?? a!.dtype, broadcastShape(a!.shape, b!.shape), (position) => f(broadcastAt(a!, position), broadcastAt(b!, position))),
  ];
const reduction =
  (f: (numbers: readonly number[]) => number): Meaning<"ReduceSum" | "ReduceMean" | "ReduceMax"> =>
  ([x], { axes, keep }) => {
    const reduced = new Set(axes.map((axis) => place(axis, x!.shape.length)));
    const groups = new Map<number, number[]>();
    const kept = x!.shape.map((size, axis) => (reduced.has(axis) ? 1 : size));
    tabulated(x!.dtype, x!.shape, (position) => {
      const group = flatIndex(
        kept,
        position.map((i, axis) => (reduced.has(axis) ? 0 : i)),
      );
      groups.set(group, [...(groups.get(group) ?? []), elementAt(x!, position)]);
      return 0;
    });
    const shape = keep ? kept : x!.shape.filter((_, axis) => !reduced.has(axis));
    return [
      ndarray(
        x!.dtype,
        shape,
        [...groups].sort(([a], [b]) => a - b).map(([, numbers]) => f(numbers)),
      ),
    ];
  };

/** f over each line of numbers along an axis. */
function alongAxis(x: NdArray, axis: number, f: (line: readonly number[]) => readonly number[]): NdArray {
  const at = place(axis, x.shape.length);
  return tabulated(x.dtype, x.shape, (position) => {
    const line = Array.from({ length: x.shape[at]! }, (_, i) => elementAt(x, replaced(position, at, i)));
    return f(line)[position[at]!]!;
  });
}
function softmax(line: readonly number[]): number[] {
  const largest = Math.max(...line);
  const exponentials = line.map((x) => Math.exp(x - largest));
  return exponentials.map((x) => x / sum(exponentials));
}
/** Indices of the k largest, largest first; ties go to the lower index. */
const largest = (line: readonly number[], k: number): number[] => [...line.keys()].sort((a, b) => line[b]! - line[a]! || a - b).slice(0, k);

function concatenated(inputs: readonly NdArray[], axis: number): NdArray {
  const first = inputs[0]!;
  const at = place(axis, first.shape.length);
  const sizes = inputs.map(({ shape }) => shape[at]!);
  return tabulated(first.dtype, replaced(first.shape, at, sum(sizes)), (position) => {
    let [piece, i] = [0, position[at]!];
    while (i >= sizes[piece]!) i -= sizes[piece++]!;
    return elementAt(inputs[piece]!, replaced(position, at, i));
  });
}

function product(a: NdArray, b: NdArray, { transA, transB, alpha }: OpAttributes["MatMul"]): NdArray {
  const turned = ({ shape }: NdArray, by: boolean) => (by ? [shape.at(-1)!, shape.at(-2)!] : [shape.at(-2)!, shape.at(-1)!]);
  const [[rows, inner], [, columns]] = [turned(a, transA), turned(b, transB)];
  const shape = [...broadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2)), rows!, columns!];
  const entry = (x: NdArray, batch: readonly number[], row: number, column: number, by: boolean) => {
    const own = batch.slice(batch.length - (x.shape.length - 2)).map((i, axis) => (x.shape[axis] === 1 ? 0 : i));
    return elementAt(x, [...own, ...(by ? [column, row] : [row, column])]);
  };
  return tabulated("float32", shape, (position) => {
    const [batch, i, j] = [position.slice(0, -2), position.at(-2)!, position.at(-1)!];
    const terms = Array.from({ length: inner! }, (_, k) => entry(a, batch, i, k, transA) * entry(b, batch, k, j, transB));
    return alpha * sum(terms);
  });
}

const geluTanh = (x: number): number => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
const ACTIVATIONS = { relu: (x: number) => Math.max(0, x), gelu: geluTanh, silu: (x: number) => x * sigmoid(x), none: (x: number) => x };

/** sum_j w_j (f(x A_jᵀ + a_j) B_j + b_j) for each row. */
function mixture(operands: readonly (NdArray | undefined)[], activation: keyof typeof ACTIVATIONS): NdArray {
  const [x, experts, weights, a, aBias, b, bBias] = operands;
  const [, rank, inputs] = a!.shape as [number, number, number];
  const f = ACTIVATIONS[activation];
  const hidden = (row: number, e: number, r: number) =>
    f(
      (aBias ? elementAt(aBias, [e, r]) : 0) +
        sum(Array.from({ length: inputs }, (_, i) => elementAt(a!, [e, r, i]) * elementAt(x!, [row, i]))),
    );
  return tabulated("float32", [x!.shape[0]!, b!.shape[2]!], ([row, column]) => {
    const output = (e: number) =>
      (bBias ? elementAt(bBias, [e, column!]) : 0) +
      sum(Array.from({ length: rank }, (_, r) => elementAt(b!, [e, r, column!]) * hidden(row!, e, r)));
    return sum(
      Array.from({ length: experts!.shape[1]! }, (_, j) => elementAt(weights!, [row!, j]) * output(elementAt(experts!, [row!, j]))),
    );
  });
}

export const MEANINGS: { readonly [Op in OpType]: Meaning<Op> } = {
  Add: binary((a, b) => a + b),
  Sub: binary((a, b) => a - b),
  Mul: binary((a, b) => a * b),
  // Integers are divided towards zero.
  Div: (inputs) => binary((a, b) => (inputs[0]!.dtype === "float32" ? a / b : Math.trunc(a / b)))(inputs, {}),
  Max: binary(Math.max),
  Min: binary(Math.min),
  Neg: unary((x) => -x),
  Abs: unary(Math.abs),
  Sign: unary(Math.sign),
  Sqrt: unary(Math.sqrt),
  Exp: unary(Math.exp),
  Log: unary(Math.log),
  Sin: unary(Math.sin),
  Cos: unary(Math.cos),
  Tanh: unary(Math.tanh),
  Sigmoid: unary(sigmoid),
  Erf: unary(erf),
  Relu: unary((x) => Math.max(x, 0)),
  QuickGelu: ([x], { alpha }) => unary((v) => v * sigmoid(alpha * v))([x!], {}),
  FastGelu: unary(geluTanh),
  Cast: ([x], { to }) => [
    { ...x!, dtype: to, data: x!.data.map((v) => (to === "bool" ? Number(v !== 0) : to === "float32" ? v : Math.trunc(v))) },
  ],
  BitCast: ([x], { to }) => {
    if (x!.dtype !== "int32" || to !== "float32") throw new Error(`the reference casts no bits of ${x!.dtype} to ${to}`);
    return [{ ...x!, dtype: to, data: [...new Float32Array(Int32Array.from(x!.data).buffer)] }];
  },
  Equal: binary((a, b) => Number(a === b), "bool"),
  Less: binary((a, b) => Number(a < b), "bool"),
  LessOrEqual: binary((a, b) => Number(a <= b), "bool"),
  And: binary((a, b) => a & b, "bool"),
  Or: binary((a, b) => a | b, "bool"),
  Not: unary((x) => 1 - x),
  Where: ([condition, a, b]) => [
    tabulated(a!.dtype, broadcastShape(condition!.shape, a!.shape, b!.shape), (position) =>
      broadcastAt(broadcastAt(condition!, position) ? a! : b!, position),
    ),
  ],
  ReduceSum: reduction(sum),
  ReduceMean: reduction(mean),
  ReduceMax: reduction((numbers) => Math.max(...numbers)),
  CumSum: ([x], { axis }) => [alongAxis(x!, axis, (line) => line.map((_, i) => sum(line.slice(0, i + 1))))],
  TopK: ([x], { k }) => {
    const shape = [...x!.shape.slice(0, -1), k];
    const indices = tabulated("int64", shape, (position) => {
      const line = Array.from({ length: x!.shape.at(-1)! }, (_, i) => elementAt(x!, [...position.slice(0, -1), i]));
      return largest(line, k)[position.at(-1)!]!;
    });
    const values = tabulated(x!.dtype, shape, (p) => elementAt(x!, [...p.slice(0, -1), elementAt(indices, p)]));
    return [values, indices];
  },
  // The target is operand 1, as ONNX reads it: 0 keeps an axis, -1 is what remains.
  Reshape: ([x, target]) => {
    const kept = target!.data.map((size, axis) => (size === 0 ? x!.shape[axis]! : size));
    const known = kept.filter((size) => size !== -1).reduce((a, b) => a * b, 1);
    const shape = kept.map((size) => (size === -1 ? x!.data.length / known : size));
    return [ndarray(x!.dtype, shape, x!.data)];
  },
  Expand: ([x, target]) => [tabulated(x!.dtype, broadcastShape(x!.shape, target!.data), (position) => broadcastAt(x!, position))],
  Transpose: ([x], { order }) => [
    tabulated(
      x!.dtype,
      order.map((axis) => x!.shape[axis]!),
      (position) => {
        const source: number[] = [];
        order.forEach((axis, i) => {
          source[axis] = position[i]!;
        });
        return elementAt(x!, source);
      },
    ),
  ],
  Concat: (inputs, { axis }) => [concatenated(inputs as readonly NdArray[], axis)],
  Slice: ([x, start, end], { axis }) => {
    const at = place(axis, x!.shape.length);
    const size = x!.shape[at]!;
    const bound = (b: NdArray) => Math.min(Math.max(wrapped(b.data[0]!, size), 0), size);
    const from = bound(start!);
    const shape = replaced(x!.shape, at, Math.max(bound(end!) - from, 0));
    return [tabulated(x!.dtype, shape, (position) => elementAt(x!, replaced(position, at, position[at]! + from)))];
  },
  Pad: ([x], { axis, before, after }) => {
    const at = place(axis, x!.shape.length);
    const size = x!.shape[at]!;
    return [
      tabulated(x!.dtype, replaced(x!.shape, at, before + size + after), (position) => {
        const i = position[at]! - before;
        return i < 0 || i >= size ? 0 : elementAt(x!, replaced(position, at, i));
      }),
    ];
  },
  Gather: ([x, index], { axis }) => {
    const at = place(axis, x!.shape.length);
    const shape = [...x!.shape.slice(0, at), ...index!.shape, ...x!.shape.slice(at + 1)];
    return [
      tabulated(x!.dtype, shape, (position) => {
        const i = elementAt(index!, position.slice(at, at + index!.shape.length));
        return elementAt(x!, [...position.slice(0, at), wrapped(i, x!.shape[at]!), ...position.slice(at + index!.shape.length)]);
      }),
    ];
  },
  GatherElements: ([x, index], { axis }) => {
    const at = place(axis, x!.shape.length);
    return [
      tabulated(x!.dtype, index!.shape, (position) =>
        elementAt(x!, replaced(position, at, wrapped(elementAt(index!, position), x!.shape[at]!))),
      ),
    ];
  },
  // index: [..., 1], updates: [..., rest of x]
  ScatterND: ([x, index, updates]) => {
    const data = [...x!.data];
    const places = index!.shape.length - 1;
    tabulated("float32", updates!.shape, (position) => {
      const row = wrapped(elementAt(index!, [...position.slice(0, places), 0]), x!.shape[0]!);
      data[flatIndex(x!.shape, [row, ...position.slice(places)])]! += elementAt(updates!, position);
      return 0;
    });
    return [{ ...x!, data }];
  },
  ScatterElements: ([x, index, updates], { axis }) => {
    const at = place(axis, x!.shape.length);
    const data = [...x!.data];
    tabulated("float32", updates!.shape, (position) => {
      const i = wrapped(elementAt(index!, position), x!.shape[at]!);
      data[flatIndex(x!.shape, replaced(position, at, i))]! += elementAt(updates!, position);
      return 0;
    });
    return [{ ...x!, data }];
  },
  ShapeOf: ([x], { axis }) => [ndarray("int64", [1], [x!.shape[place(axis, x!.shape.length)]!])],
  Range: ([start, end, step]) => {
    const [from, to, by] = [start!.data[0]!, end!.data[0]!, step!.data[0]!];
    const size = Math.max(Math.ceil((to - from) / by), 0);
    return [tabulated("int64", [size], ([i]) => from + i! * by)];
  },
  MatMul: ([a, b], attributes) => [product(a!, b!, attributes)],
  Softmax: ([x], { axis }) => [alongAxis(x!, axis, softmax)],
  LogSoftmax: ([x], { axis }) => [
    alongAxis(x!, axis, (line) => {
      const largest = Math.max(...line);
      const total = largest + Math.log(sum(line.map((v) => Math.exp(v - largest))));
      return line.map((v) => v - total);
    }),
  ],
  LayerNormalization: ([x, scale, bias], { epsilon }) => [
    alongAxis(x!, -1, (line) => {
      const center = mean(line);
      const deviation = Math.sqrt(mean(line.map((v) => (v - center) ** 2)) + epsilon);
      return line.map((v, i) => ((v - center) / deviation) * scale!.data[i]! + (bias?.data[i] ?? 0));
    }),
  ],
  SimplifiedLayerNormalization: ([x, scale], { epsilon }) => {
    const factor = (line: readonly number[]) => 1 / Math.sqrt(mean(line.map((v) => v * v)) + epsilon);
    const normal = alongAxis(x!, -1, (line) => line.map((v, i) => v * factor(line) * scale!.data[i]!));
    const factors = tabulated(x!.dtype, [...x!.shape.slice(0, -1), 1], (position) =>
      factor(Array.from({ length: x!.shape.at(-1)! }, (_, i) => elementAt(x!, [...position.slice(0, -1), i]))),
    );
    return [normal, factors];
  },
  RotaryEmbedding: ([x, rows, cosines, sines]) => {
    const half = x!.shape.at(-1)! / 2;
    return [
      tabulated(x!.dtype, x!.shape, ([batch, head, token, i]) => {
        const at = (table: NdArray) => elementAt(table, [elementAt(rows!, [batch!, token!]), i! % half]);
        const [left, right] = [i! % half, (i! % half) + half].map((j) => elementAt(x!, [batch!, head!, token!, j])) as [number, number];
        return i! < half ? left * at(cosines!) - right * at(sines!) : right * at(cosines!) + left * at(sines!);
      }),
    ];
  },
  // Without the rounding of x, which is the engine's; gradients ignore it.
  Int8MatMul: ([x, values, scales]) => [
    tabulated("float32", [...x!.shape.slice(0, -1), values!.shape[1]!], (position) => {
      const [row, out] = [position.slice(0, -1), position.at(-1)!];
      return (
        scales!.data[out]! *
        sum(Array.from({ length: values!.shape[0]! }, (_, i) => elementAt(x!, [...row, i]) * elementAt(values!, [i, out])))
      );
    }),
  ],
  QuantizeLinear: ([x, step, middle]) => [
    { ...x!, dtype: "uint8", data: x!.data.map((v) => Math.max(0, Math.min(255, roundedToEven(v / step!.data[0]!) + middle!.data[0]!))) },
  ],
  MatMulIntegerToFloat: ([a, b, step, scales, middle]) => [
    tabulated("float32", [...a!.shape.slice(0, -1), b!.shape[1]!], (position) => {
      const [row, out] = [position.slice(0, -1), position.at(-1)!];
      const terms = Array.from(
        { length: b!.shape[0]! },
        (_, i) => (elementAt(a!, [...row, i]) - middle!.data[0]!) * elementAt(b!, [i, out]),
      );
      return step!.data[0]! * scales!.data[out]! * sum(terms);
    }),
  ],
  MatMulNBits: ([x, values, scales, zeros], { in: inputs, out, block }) => {
    const blocks = Math.ceil(inputs / block);
    const level = (bytes: NdArray, i: number) => (bytes.data[i >> 1]! >> (i % 2 === 0 ? 0 : 4)) & 15;
    const weight = (o: number, i: number) => {
      const b = Math.floor(i / block);
      const zero = zeros ? level(zeros, o * 2 * Math.ceil(blocks / 2) + b) : 8;
      return scales!.data[o * blocks + b]! * (level(values!, o * blocks * block + i) - zero);
    };
    return [
      tabulated("float32", [...x!.shape.slice(0, -1), out], (position) => {
        const row = position.slice(0, -1);
        return sum(Array.from({ length: inputs }, (_, i) => elementAt(x!, [...row, i]) * weight(position.at(-1)!, i)));
      }),
    ];
  },
  DequantizeLinear: ([levels, scales], { block }) => [
    tabulated(
      "float32",
      levels!.shape,
      ([row, i]) => elementAt(levels!, [row!, i!]) * elementAt(scales!, block ? [row!, Math.floor(i! / block)] : [i!]),
    ),
  ],
  Mixture: (inputs, { activation = "none" as const }) => [mixture(inputs, activation)],
};
