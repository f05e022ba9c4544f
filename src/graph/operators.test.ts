/** @file For every operator, compares ONNX Runtime's numbers and shapes with the float64 reference and the inferred types. */

import { describe, expect, test } from "vitest";
import { CASES, type Case } from "../../tests/reference/cases.ts";
import { difference } from "../../tests/reference/compare.ts";
import { computed, FLOAT32 } from "../../tests/reference/engine.ts";
import { evaluate } from "../../tests/reference/evaluate.ts";
import { MEANINGS } from "../../tests/reference/operators.ts";
import { runtimeSize, Sandbox } from "../../tests/reference/sandbox.ts";
import { ShapeError } from "../base/errors.ts";
import { ENCODINGS } from "./onnx/operators.ts";
import type { OpType } from "./operators.ts";
import { add, where } from "./ops/elementwise.ts";
import { matmul } from "./ops/linalg.ts";
import { concat, expand, reshape, slice, transpose } from "./ops/movement.ts";
import { reduceSum } from "./ops/reduce.ts";
import type { Value } from "./value.ts";

const SEEDS = [1, 2, 3];

function built(op: OpType, title: string, build: Case, seed: number): Sandbox {
  const sandbox = new Sandbox(op, title, seed);
  const values = [build(sandbox)].flat() as Value[];
  values.forEach((value, i) => {
    sandbox.graph.output(`y${i}`, value);
  });
  return sandbox;
}

describe.each(Object.entries(CASES))("%s", (op, cases) => {
  test.each(Object.entries(cases))("%s", async (title, build) => {
    for (const seed of SEEDS) {
      const { graph, feeds } = built(op as OpType, title, build, seed);
      expect(graph.nodes.map((node) => node.op)).toContain(op);
      const [results, expected] = [await computed(graph, feeds), evaluate(graph, feeds)];
      for (const [name, value] of graph.outputs) {
        expect(difference(results[name]!, expected[name]!, FLOAT32), `${name}, seed ${seed}`).toBeUndefined();
        expect({ dtype: results[name]!.dtype, shape: results[name]!.shape }).toEqual({
          dtype: value.dtype,
          shape: value.shape.map(runtimeSize),
        });
      }
    }
  });
});

test("every operator that can be written has a meaning and a case", () => {
  const ops = Object.keys(ENCODINGS).sort();
  expect(Object.keys(MEANINGS).sort()).toEqual(ops);
  expect(Object.keys(CASES).sort()).toEqual(ops);
  for (const [op, cases] of Object.entries(CASES)) expect(Object.keys(cases), op).not.toHaveLength(0);
});

describe("operands that do not fit are refused with both shapes", () => {
  const cases: [string, RegExp, (s: Sandbox) => unknown][] = [
    ["sizes that do not broadcast", /Add: shapes do not broadcast: \[2, 3\] with \[4\]/, (s) => add(s.float(2, 3), s.float(4))],
    ["two named sizes", /Add: shapes do not broadcast: \[batch\] with \[sequence\]/, (s) => add(s.float("batch"), s.float("sequence"))],
    ["a named size and a number", /\[batch\] with \[2\]/, (s) => add(s.float("batch"), s.float(2))],
    ["dtypes", /Add: dtypes differ: float32\[2\], int64\[2\]/, (s) => s.graph.apply("Add", [s.float(2), s.int(2, 2)], {})],
    [
      "inner sizes",
      /MatMul: inner sizes differ: float32\[batch, 3\] @ float32\[4, 3\]\.\n.*transpose b/,
      (s) => matmul(s.float("batch", 3), s.float(4, 3)),
    ],
    ["transposed inner sizes", /float32\[4, 3\]ᵀ @/, (s) => matmul(s.float(4, 3), s.float(3, 4), { transA: true })],
    ["a vector in a product", /MatMul: operands need at least two axes/, (s) => matmul(s.float(3), s.float(3, 4))],
    [
      "a reshape to another count",
      /Reshape: cannot become \[batch, 5\]: float32\[batch, 4\]/,
      (s) => reshape(s.float("batch", 4), "batch", 5),
    ],
    ["a reshape to another name", /cannot become \[sequence, 4\]/, (s) => reshape(s.float("batch", 4), "sequence", 4)],
    ["an expansion of a size above 1", /Expand: shapes do not broadcast: \[2\] with \[4\]/, (s) => expand(s.float(2), 4)],
    ["an expansion to fewer axes", /Expand: cannot become \[3\]: float32\[2, 3\]/, (s) => expand(s.float(2, 3), 3)],
    ["an order of another rank", /Transpose: order \[1,0\] has another rank/, (s) => transpose(s.float(2, 3, 4), [1, 0])],
    ["pieces of other sizes", /Concat: shapes differ outside axis 1/, (s) => concat([s.float(2, 3), s.float(3, 3)], 1)],
    ["an axis that is not there", /axis 2 is out of range for a shape of rank 2/, (s) => reduceSum(s.float(2, 3), { axes: [2] })],
    ["a slice along no axis", /axis -3 is out of range/, (s) => slice(s.float(2, 3), -3, 0, 1)],
    ["a choice of two shapes", /Where: shapes do not broadcast/, (s) => where(s.bool(2), s.float(3), s.float(3))],
  ];
  test.each(cases)("%s", (title, message, build) => {
    const attempt = () => build(new Sandbox(title));
    expect(attempt).toThrow(ShapeError);
    expect(attempt).toThrow(message);
  });
});
