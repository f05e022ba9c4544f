/** @file Graphs lowered for an engine that lacks every operator with a decomposition give the numbers of the fused graph and the reference. */

import { describe, expect, test } from "vitest";
import { EVERY_USE, lacking } from "../../../tests/engines.ts";
import { CASES } from "../../../tests/reference/cases.ts";
import { difference } from "../../../tests/reference/compare.ts";
import { computed, FLOAT32 } from "../../../tests/reference/engine.ts";
import { evaluate } from "../../../tests/reference/evaluate.ts";
import { Sandbox } from "../../../tests/reference/sandbox.ts";
import { float32 } from "../../base/tensor.ts";
import { cpu } from "../../runtime/onnxruntime-node.ts";
import { createGraph } from "../graph.ts";
import { add, cos, mul, sin } from "../ops/elementwise.ts";
import { matmul } from "../ops/linalg.ts";
import { logSoftmax, rmsNorm } from "../ops/reduce.ts";
import { graphText } from "../print.ts";
import type { Graph, Value } from "../value.ts";
import type { Use } from "./capabilities.ts";
import { lowered, usesIn } from "./lowered.ts";

const LACKS = Object.fromEntries(EVERY_USE.map((use) => [use, "a test"]));
const plain = lacking(cpu, EVERY_USE);

function sandbox(op: string, title: string, seed: number): Sandbox {
  const s = new Sandbox(op, title, seed);
  ([CASES[op as keyof typeof CASES][title]!(s)].flat() as Value[]).forEach((value, i) => {
    s.graph.output(`y${i}`, value);
  });
  return s;
}

const USING = Object.entries(CASES).flatMap(([op, cases]) =>
  Object.keys(cases).flatMap((title) => {
    const uses = [...usesIn(sandbox(op, title, 1).graph)];
    return uses.length === 0 ? [] : [{ op, title, uses }];
  }),
);

test("every use that an engine may lack has a case", () => {
  expect([...new Set(USING.flatMap(({ uses }) => uses))].sort()).toEqual([...EVERY_USE].sort());
});

describe("lowered, fused and reference agree", () => {
  test.each(USING)("$op: $title", async ({ op, title }) => {
    for (const seed of [1, 2, 3]) {
      const { graph, feeds } = sandbox(op, title, seed);
      expect(usesIn(lowered(graph, { lacks: LACKS }))).toEqual(new Set());
      const [fused, low, expected] = [await computed(graph, feeds, cpu), await computed(graph, feeds, plain), evaluate(graph, feeds)];
      for (const name of graph.outputs.keys()) {
        expect(difference(low[name]!, expected[name]!, FLOAT32), `${name}, seed ${seed}`).toBeUndefined();
        expect(difference(low[name]!, fused[name]!, FLOAT32), `${name}, seed ${seed}`).toBeUndefined();
      }
    }
  });
});

test("sine and cosine are right for angles as large as long sequences have", async () => {
  const angles = Array.from({ length: 20_000 }, (_, i) => Math.fround((i - 10_000) * (i % 2 ? 5.0001 : 0.0003)));
  const g = createGraph("angles");
  const x = g.float("x", angles.length);
  g.output("sin", sin(x));
  g.output("cos", cos(x));
  const results = await computed(g, { x: { dtype: "float32", shape: [angles.length], data: angles } }, lacking(cpu, ["Sin", "Cos"]));
  const worst = (name: string, f: (angle: number) => number) =>
    Math.max(...angles.map((angle, i) => Math.abs(results[name]!.data[i]! - f(angle))));
  expect(worst("sin", Math.sin)).toBeLessThan(5e-7);
  expect(worst("cos", Math.cos)).toBeLessThan(5e-7);
});

describe("what an engine has stays as it is", () => {
  function graph(): Graph {
    const g = createGraph("g");
    const x = g.float("x", "rows", 4);
    const weight = g.file("w", "float32", [4, 4], { file: "/model.safetensors", offset: 8, bytes: 64 });
    g.float("nobody reads", 3);
    const y = g.scope("block.0", () =>
      matmul(rmsNorm(x, g.constant(float32([4], [1, 1, 1, 1])), { epsilon: 1e-6 }), weight, { transB: true }),
    );
    g.output("y", add(y, x));
    g.output("x again", x);
    return g;
  }

  test("a graph that needs nothing lowered is itself", () => {
    const g = graph();
    expect(lowered(g, { lacks: {} })).toBe(g);
    expect(lowered(g, { lacks: { Mixture: "", LogSoftmax: "" } })).toBe(g);
  });

  test("only what is lacking changes; names, files, sizes and scopes are kept", () => {
    const text = graphText(lowered(graph(), { lacks: { FusedMatMul: "" } }));
    expect(text.replace(/_\d+/g, "_")).toBe(`graph g
input  x: float32[rows, 4]
file   w: float32[4, 4] at model.safetensors
output y: float32[rows, 4] = %add_
output x again: float32[rows, 4] = %x
%simplifiedlayernormalization_: float32[rows, 4], %simplifiedlayernormalization_: float32[rows, 1] = SimplifiedLayerNormalization(%x, [1, 1, 1, 1]) {epsilon=0.000001}  # block.0
%transpose_: float32[4, 4] = Transpose(%w) {order=[1, 0]}  # block.0
%matmul_: float32[rows, 4] = MatMul(%simplifiedlayernormalization_, %transpose_)  # block.0
%add_: float32[rows, 4] = Add(%matmul_, %x)
`);
  });

  test("the second result of a norm is lowered only where it is used", () => {
    const lacks = { "SimplifiedLayerNormalization, second result": "" } satisfies Partial<Record<Use, string>>;
    const norm = (both: boolean) => {
      const g = createGraph("norm");
      const [y, r] = g.apply("SimplifiedLayerNormalization", [g.float("x", 2, 4), g.float("scale", 4)], { epsilon: 1e-6 });
      g.output("y", y!);
      if (both) g.output("r", r!);
      return g;
    };
    const ops = (g: Graph) => g.nodes.map(({ op }) => op);
    expect(ops(lowered(norm(false), { lacks }))).toEqual(["SimplifiedLayerNormalization"]);
    expect(ops(lowered(norm(true), { lacks }))).not.toContain("SimplifiedLayerNormalization");
  });

  test("what nobody fetches is not copied", () => {
    const g = graph();
    mul(logSoftmax(g.float("x", "rows", 4)), 2);
    expect(lowered(g, { lacks: { LogSoftmax: "", FusedMatMul: "" } }).nodes.map(({ op }) => op)).not.toContain("Exp");
  });
});
