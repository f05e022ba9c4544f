/** @file Test cases for every operator: broadcasting, named sizes, negative axes, every attribute.
 *  The same cases compare ONNX Runtime with the reference and gradients with differences. Total by type. */

import { float32 } from "../../src/base/tensor.ts";
import type { OpType } from "../../src/graph/operators.ts";
import * as E from "../../src/graph/ops/elementwise.ts";
import type { Int4Weight } from "../../src/graph/ops/linalg.ts";
import { int4Matmul, int8Matmul, matmul, rotaryEmbedding } from "../../src/graph/ops/linalg.ts";
import * as M from "../../src/graph/ops/movement.ts";
import * as R from "../../src/graph/ops/reduce.ts";
import type { Bool, Float, Int, Value } from "../../src/graph/value.ts";
import type { Sandbox } from "./sandbox.ts";

/** Builds the outputs to compare. */
export type Case = (s: Sandbox) => Value | readonly Value[];
export type Cases = Readonly<Record<string, Case>>;

function binary(f: (a: Float, b: Float) => Value, integers?: (a: Int, b: Int) => Value): Cases {
  return {
    "random shapes": (s) => {
      const [a, b] = s.broadcastable(2);
      return f(s.float(...a!), s.positive(...b!));
    },
    "both sides repeat": (s) => f(s.float("batch", 1, 4), s.positive("sequence", 1)),
    "named sizes": (s) => f(s.float("batch", "sequence", 3), s.positive("sequence", 3)),
    scalars: (s) => f(s.float(), s.positive()),
    "an operand with itself": (s) => {
      const x = s.positive(2, 3);
      return f(x, x);
    },
    ...(integers
      ? {
          integers: (s) =>
            integers(
              E.subInt(s.int(9, "batch", 4), 4),
              E.addInt(s.int(3, 4), s.graph.constant({ dtype: "int64", shape: [], data: BigInt64Array.of(1n) })),
            ),
        }
      : {}),
  };
}
function unary(f: (x: Float) => Float, draw: "float" | "positive" = "float"): Cases {
  return { ...vectors(f, draw), scalar: (s) => f(s[draw]()) };
}
/** For ONNX Runtime's own operators that take no scalars. */
function vectors(f: (x: Float) => Float, draw: "float" | "positive" = "float"): Cases {
  return {
    "random shapes": (s) => f(s[draw](...s.shape())),
    "named sizes": (s) => f(s[draw]("batch", "sequence", 3)),
    "larger numbers": (s) => f(E.mul(s[draw](5), 4)),
  };
}
function comparison(f: typeof E.equal): Cases {
  return {
    "random shapes": (s) => {
      const [a, b] = s.broadcastable(2);
      return f(s.float(...a!), s.float(...b!));
    },
    integers: (s) => f(s.int(3, "batch", 4), s.int(3, 4)),
    "a number": (s) => [f(s.int(3, 6), 1), f(s.positive(2, 3), 1)],
  };
}
function logical(f: (a: Bool, b: Bool) => Bool): Cases {
  return {
    "random shapes": (s) => {
      const [a, b] = s.broadcastable(2);
      return f(s.bool(...a!), s.bool(...b!));
    },
  };
}
function reduction(f: typeof R.reduceSum): Cases {
  return {
    "random shapes": (s) => f(s.float(...s.shape())),
    "a negative axis": (s) => f(s.float("batch", 3, 4), { axes: [-2] }),
    "several axes, dropped": (s) => f(s.float(2, "sequence", 3, 4), { axes: [0, -1], keep: false }),
    "an axis of named size": (s) => f(s.float("batch", "sequence", 3), { axes: [0, 1] }),
    "all axes": (s) => f(s.float(2, 3), { axes: [0, 1], keep: false }),
    "no axes": (s) => f(s.float(2, 3), { axes: [], keep: false }),
  };
}
function alongAxis(f: (x: Float, axis: number) => Float): Cases {
  return {
    "the last axis": (s) => f(s.float("batch", "sequence", 5), -1),
    "the first axis": (s) => f(s.float(3, 4), 0),
    "a middle axis of named size": (s) => f(s.float("batch", "sequence", 4), 1),
  };
}

function matmulCases(): Cases {
  const batches: [string, (string | number)[], (string | number)[]][] = [
    ["matrices", [], []],
    ["batch axes on both", ["batch", 3], ["batch", 3]],
    ["batch axes on the left", ["batch", "sequence"], []],
    ["batch axes on the right", [], ["batch", 2]],
    ["batch axes that repeat", ["batch", 1], [3]],
  ];
  const flags = [false, true];
  return Object.fromEntries(
    batches.flatMap(([title, left, right]) =>
      flags.flatMap((transA) =>
        flags.flatMap((transB) =>
          [1, 0.3].map((alpha): [string, Case] => [
            `${title}, transA ${transA}, transB ${transB}, alpha ${alpha}`,
            (s) => {
              const a = s.float(...left, ...(transA ? [4, 5] : [5, 4]));
              const b = s.float(...right, ...(transB ? [2, 4] : [4, 2]));
              return matmul(a, b, { transA, transB, alpha });
            },
          ]),
        ),
      ),
    ),
  );
}

/** x, with heads of 6 numbers, rotated by the angles 0, 1, 2, ... of four rows. */
function turned(s: Sandbox, x: Float, rows: Int): Float {
  const angles = Array.from({ length: 12 }, (_, i) => i);
  const table = (f: (angle: number) => number) => s.graph.constant(float32([4, 3], angles.map(f)));
  return rotaryEmbedding(x, rows, { cosines: table(Math.cos), sines: table(Math.sin) });
}

/** Rows of whole numbers from -127 to 127, each block of 16 with a 127: rounding them to 8 bits changes nothing. */
function levels(s: Sandbox, rows: number, width: number): Float {
  const numbers = Array.from({ length: rows * width }, (_, i) => ((i % width) % 16 === 0 ? 127 : ((i * 37 + rows) % 255) - 127));
  return s.given("float32", [rows, width], numbers);
}
function bytes(s: Sandbox, ...shape: [number, number]): Value<"int8"> {
  return s.graph.constant({ dtype: "int8", shape, data: Int8Array.from({ length: shape[0] * shape[1] }, (_, i) => ((i * 53) % 127) - 63) });
}
function constants(s: Sandbox, count: number): Float {
  return s.graph.constant(
    float32(
      [count],
      Float32Array.from({ length: count }, (_, i) => 0.01 * (i + 1)),
    ),
  );
}
const middle = (s: Sandbox) => s.graph.constant({ dtype: "uint8", shape: [], data: Uint8Array.of(128) });

/** Blocks of 16 in 4 bits. */
/** A constant, as all weights in 4 bits are: WebGPU has no copy of such numbers from the host while a graph runs. */
function uint4(s: Sandbox, shape: readonly number[], numbers: readonly number[]): Value<"uint4"> {
  return E.cast(s.graph.constant({ dtype: "int64", shape, data: BigInt64Array.from(numbers, BigInt) }), "uint4");
}
function int4Weight(s: Sandbox, out: number, blocks: number, hasZeros = false): Int4Weight {
  const packed = (count: number, by: number) => Uint8Array.from({ length: count }, (_, i) => (i * by) % 256);
  const values = packed(out * blocks * 8, 91);
  const zeros = packed(out * Math.ceil(blocks / 2), 57);
  const nibbles = (data: Uint8Array) => [...data].flatMap((byte) => [byte & 15, byte >> 4]);
  const numbers = (data: Uint8Array, width: number) => uint4(s, [out, width], nibbles(data));
  return {
    values: s.graph.constant({ dtype: "uint8", shape: [out, blocks, 8], data: values }),
    scales: s.graph.constant(
      float32(
        [out, blocks],
        Float32Array.from({ length: out * blocks }, (_, i) => 0.02 * ((i % 5) - 2.5)),
      ),
    ),
    numbers: numbers(values, blocks * 16),
    ...(hasZeros && {
      zeros: s.graph.constant({ dtype: "uint8", shape: [out, Math.ceil(blocks / 2)], data: zeros }),
      zeroNumbers: numbers(zeros, 2 * Math.ceil(blocks / 2)),
    }),
  };
}

export const CASES: { readonly [Op in OpType]: Cases } = {
  Add: binary(E.add, E.addInt),
  Sub: binary(E.sub, E.subInt),
  Mul: binary(E.mul, E.mulInt),
  Div: binary(E.div, E.divInt),
  Max: binary(E.max, E.maxInt),
  Min: binary(E.min, E.minInt),
  Neg: unary(E.neg),
  Abs: unary(E.abs),
  Sign: unary(E.sign),
  Sqrt: unary(E.sqrt, "positive"),
  Exp: unary(E.exp),
  Log: unary(E.log, "positive"),
  Sin: unary(E.sin),
  Cos: unary(E.cos),
  Tanh: unary(E.tanh),
  Sigmoid: unary(E.sigmoid),
  Erf: { ...unary(E.erf), "exact GELU": (s) => E.gelu(s.float("batch", 5)) },
  Relu: unary(E.relu),
  QuickGelu: { ...unary(E.silu), "alpha 1.702": (s) => E.quickGelu(s.float("batch", 5)) },
  FastGelu: vectors(E.geluTanh),
  Cast: {
    "integers to floats": (s) => E.toFloat(s.int(9, "batch", 3)),
    "booleans to floats": (s) => E.toFloat(s.bool(4)),
    "booleans to integers": (s) => E.cast(s.bool(4), "int64"),
    "floats to integers, towards zero": (s) => E.cast(E.mul(s.float(6), 3), "int64"),
    "integers to booleans": (s) => E.cast(s.int(2, 6), "bool"),
  },
  BitCast: {
    "integers to floats": (s) =>
      s.graph.apply("BitCast", [s.given("int32", [2, 2], [0x3f800000, -0x40000000, 0x40490fdb, 0])], { to: "float32" })[0]!,
  },
  Equal: comparison(E.equal),
  Less: comparison(E.less),
  LessOrEqual: comparison(E.lessOrEqual),
  And: logical(E.and),
  Or: logical(E.or),
  Not: { "random shapes": (s) => E.not(s.bool(...s.shape())) },
  Where: {
    "random shapes": (s) => {
      const [condition, a, b] = s.broadcastable(3);
      return E.where(s.bool(...condition!), s.float(...a!), s.float(...b!));
    },
    "a condition that repeats": (s) => E.where(s.bool("sequence", 1), s.float("batch", "sequence", 4), s.float(4)),
    "numbers on both sides": (s) => E.where(s.bool(3), 1, -2.5),
    "a number on the right": (s) => E.where(s.bool("batch", 1), s.float("batch", 3), 0),
    integers: (s) => E.whereInt(s.bool("batch", 1), s.int(5, 3), 7),
  },
  ReduceSum: reduction(R.reduceSum),
  ReduceMean: reduction(R.reduceMean),
  ReduceMax: reduction(R.reduceMax),
  CumSum: { ...alongAxis(R.cumulativeSum), integers: (s) => R.cumulativeSum(s.int(4, "batch", 5), -1) },
  TopK: {
    "two of five": (s) => Object.values(R.topK(s.float("batch", "sequence", 5), 2)),
    all: (s) => Object.values(R.topK(s.float(3, 4), 4)),
    "ties go to the lower index": (s) => Object.values(R.topK(s.given("float32", [2, 6], [1, 0, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0]), 3)),
  },
  Reshape: {
    heads: (s) => M.reshape(s.float("batch", "sequence", 8), "batch", "sequence", 2, 4),
    "one unknown size": (s) => M.reshape(s.float("batch", 6), 2, "batch", 3),
    "rows together": (s) => M.flattenRows(s.float("batch", "sequence", 4)),
    "rows together and apart again": (s) => M.reshape(M.flattenRows(s.float("batch", "sequence", 4)), "batch", "sequence", 4),
    "several unknown sizes": (s) => M.reshape(s.float("batch", "sequence", 4), "sequence", "batch", 2, 2),
    "a product with a number": (s) =>
      M.reshape(M.reshape(s.float("batch", "sequence", 4, 2), "batch*4", "sequence*2"), "batch", "sequence", 8),
    "axes of size 1": (s) => M.unsqueeze(s.float("batch", 3), 0, -1),
    integers: (s) => M.reshape(s.int(5, 2, 3), 6),
    "to a scalar": (s) => M.reshape(s.float(1, 1)),
    "an empty axis": (s) => M.reshape(s.float("batch", "none", 8), "batch", "none", 2, 4),
  },
  Expand: {
    "numeric sizes": (s) => M.expand(s.float(3, 1), 2, 3, 4),
    "named sizes": (s) => {
      const mask = s.float("batch", "sequence");
      return [M.expand(s.float(1, 3), "batch", "sequence", 3), E.neg(mask)];
    },
    "a scalar": (s) => M.expand(s.float(), 2, 3),
  },
  Transpose: {
    "the last two axes": (s) => M.transpose(s.float("batch", "sequence", 4)),
    "a cycle of three": (s) => M.transpose(s.float("batch", 3, 4), [1, 2, 0]),
    heads: (s) => M.transpose(s.float("batch", "sequence", 2, 4), [0, 2, 1, 3]),
  },
  Concat: {
    "numeric sizes": (s) => M.concat([s.float("batch", 2), s.float("batch", 3), s.float("batch", 1)], -1),
    "the first axis": (s) => M.concat([s.float(2, 3), s.float(1, 3)], 0),
    "the same value twice": (s) => {
      const x = s.float(2, 2);
      return M.concat([x, x], 1);
    },
    "named sizes": (s) => M.concat([s.float("batch", 3), s.float("sequence", 3)], 0),
    "an empty axis": (s) => M.concat([s.float(2, "none", 3), s.float(2, "sequence", 3)], 1),
    integers: (s) => M.concat([s.int(4, 2), s.int(4, 3)], 0),
  },
  Slice: {
    "the middle": (s) => M.slice(s.float("batch", 6), -1, 2, 5),
    "to the end": (s) => M.slice(s.float(5, "batch"), 0, 3, 5),
    "from the start": (s) => M.slice(s.float(5, 2), 0, 0, 2),
    "counted from the back": (s) => M.slice(s.float("batch", 6), 1, -4, -1),
    "beyond the end": (s) => M.slice(s.float(2, 4), 1, 1, 99),
    pieces: (s) => M.split(s.float("batch", 6), -1, [1, 2, 3]),
    "bounds known at run time": (s) => M.slice(s.float("batch", 6), 1, s.given("int64", [1], [1]), s.given("int64", [1], [3]), "kept"),
    "an axis of named size": (s) => M.slice(s.float("sequence", 2), 0, -2, 99, "kept"),
  },
  Pad: {
    "before and after": (s) => M.pad(s.float("batch", 3), 1, 2, 1),
    "a negative axis": (s) => M.pad(s.float(2, 3, "batch"), -2, 0, 2),
  },
  Gather: {
    "rows, some of them twice": (s) => M.gather(s.float(4, 3), s.given("int64", ["batch", 4], [0, 3, 3, 1, 3, 0, 2, 2])),
    "a vector's elements": (s) => M.gather(s.float(6), s.int(6, "sequence")),
    "one row": (s) => M.gather(s.float(4, 3), s.int(4)),
    "rows counted from the back": (s) => M.gather(s.float(4, 3), s.given("int64", [3], [-1, -4, 1])),
    "rows of rows": (s) => M.gather(s.float(4, 2, 3), s.int(4, 5)),
    "another axis": (s) => M.gather(s.float("batch", 5, 3), s.int(5, 2, 2), 1),
  },
  GatherElements: {
    "the last axis": (s) => M.gatherElements(s.float("batch", "sequence", 5), s.int(5, "batch", "sequence", 1)),
    "the first axis, repeated": (s) => M.gatherElements(s.float(2, 3), s.int(2, 4, 3), 0),
  },
  ScatterND: {
    "rows, some of them twice": (s) => M.scatterAddRows(s.float(4, 3), s.given("int64", [5], [0, 3, 3, 1, 3]), s.float(5, 3)),
    "rows named by a matrix": (s) => M.scatterAddRows(s.float(4, 3), s.int(4, "batch", 2), s.float("batch", 2, 3)),
  },
  ScatterElements: {
    "the last axis, some twice": (s) => M.scatterAddElements(s.float(2, 4), s.int(4, 2, 6), s.float(2, 6)),
    "the first axis": (s) => M.scatterAddElements(s.float(4, "batch"), s.int(4, 3, "batch"), s.float(3, "batch"), 0),
  },
  ShapeOf: {
    "each axis": (s) => {
      const x = s.float("batch", 5, "sequence");
      return [0, 1, 2, -1, -3].map((axis) => s.graph.apply("ShapeOf", [x], { axis })[0]!);
    },
  },
  Range: {
    "a named size": (s) => M.range(s.graph, s.float("batch", "sequence").shape[1]!),
    "a product of named sizes": (s) => M.range(s.graph, M.flattenRows(s.float("batch", "sequence", 2)).shape[0]!),
  },
  MatMul: matmulCases(),
  Softmax: { ...alongAxis(R.softmax), "large scores": (s) => R.softmax(E.mul(s.float(3, 4), 100)) },
  LogSoftmax: { ...alongAxis(R.logSoftmax), "large scores": (s) => R.logSoftmax(E.mul(s.float(3, 4), 100)) },
  LayerNormalization: {
    "scale and bias": (s) => R.layerNorm(s.float("batch", "sequence", 6), s.float(6), { bias: s.float(6), epsilon: 1e-5 }),
    "scale alone": (s) => R.layerNorm(s.float(3, 4), s.float(4), { epsilon: 1e-5 }),
    "a large epsilon": (s) => R.layerNorm(s.float(3, 4), s.float(4), { epsilon: 0.5 }),
    standardized: (s) => R.standardize(s.float("batch", 8), 1e-5),
  },
  SimplifiedLayerNormalization: {
    "named sizes": (s) => R.rmsNorm(s.float("batch", "sequence", 6), s.float(6), { epsilon: 1e-6 }),
    "a large epsilon": (s) => R.rmsNorm(s.float(3, 4), s.float(4), { epsilon: 0.5 }),
    "both results": (s) => s.graph.apply("SimplifiedLayerNormalization", [s.float(2, 3, 4), s.float(4)], { epsilon: 1e-6 }),
  },
  RotaryEmbedding: {
    "rows of a table": (s) => turned(s, s.float("batch", 2, "sequence", 6), s.int(4, "batch", "sequence")),
    "one sequence": (s) => turned(s, s.float(1, 3, 4, 6), s.int(4, 1, 4)),
  },
  Int8MatMul: {
    "rows that 8 bits hold exactly": (s) => int8Matmul(levels(s, 3, 6), bytes(s, 6, 4), { scales: constants(s, 4) }),
    "a batch, no scales": (s) => int8Matmul(M.reshape(levels(s, 6, 5), 2, 3, 5), bytes(s, 5, 3)),
  },
  QuantizeLinear: {
    "ties and ends": (s) =>
      s.graph.apply(
        "QuantizeLinear",
        [s.given("float32", [2, 4], [0.5, 1.5, -2.5, 0, 300, -300, 127, -127]), E.scalar(s.float(1), 1), middle(s)],
        {},
      ),
  },
  MatMulIntegerToFloat: {
    "rows of a batch": (s) =>
      s.graph.apply(
        "MatMulIntegerToFloat",
        [E.cast(s.int(256, "batch", 3, 8), "uint8"), bytes(s, 8, 4), E.scalar(s.float(1), 0.25), constants(s, 4), middle(s)],
        {},
      ),
  },
  MatMulNBits: {
    "two blocks": (s) => int4Matmul(levels(s, 3, 32), int4Weight(s, 5, 2), { in: 32, out: 5 }),
    "zeros of their own": (s) => int4Matmul(levels(s, 2, 48), int4Weight(s, 4, 3, true), { in: 48, out: 4 }),
    "a last block that is not full": (s) => int4Matmul(levels(s, 3, 20), int4Weight(s, 5, 2), { in: 20, out: 5 }),
  },
  DequantizeLinear: {
    "two blocks a row": (s) => {
      const numbers = Array.from({ length: 96 }, (_, i) => (i * 7 + (i >> 4)) % 16);
      return s.graph.apply("DequantizeLinear", [uint4(s, [3, 32], numbers), s.float(3, 2)], { block: 16 });
    },
    "a factor for each column": (s) => s.graph.apply("DequantizeLinear", [bytes(s, 6, 4), constants(s, 4)], {}),
  },
  Mixture: {
    "two of five experts": (s) =>
      s.graph.apply("Mixture", [s.float(3, 8), s.int(5, 3, 2), s.float(3, 2), s.float(5, 2, 8), undefined, s.float(5, 2, 6)], {}),
    "biases and an activation": (s) => {
      const [a, b] = [
        [s.float(4, 3, 5), s.float(4, 3)],
        [s.float(4, 3, 7), s.float(4, 7)],
      ];
      return s.graph.apply("Mixture", [s.float(6, 5), s.int(4, 6, 1), s.float(6, 1), ...a, ...b], { activation: "gelu" });
    },
    "rows and experts of named size": (s) => {
      const size = ["batch", 2] as const;
      return s.graph.apply(
        "Mixture",
        [s.float("batch", 4), s.int(3, ...size), s.float(...size), s.float("sequence", 2, 4), undefined, s.float("sequence", 2, 4)],
        {},
      );
    },
  },
};
