/** @file Gradients against central differences, both in float64, and the same graphs once through ONNX Runtime. */

import { describe, expect, test } from "vitest";
import { EVERY_USE, lacking } from "../../tests/engines.ts";
import { type NdArray, ndarray } from "../../tests/reference/array.ts";
import { CASES } from "../../tests/reference/cases.ts";
import { difference } from "../../tests/reference/compare.ts";
import { computed, FLOAT32 } from "../../tests/reference/engine.ts";
import { evaluate } from "../../tests/reference/evaluate.ts";
import { Sandbox } from "../../tests/reference/sandbox.ts";
import { usesIn } from "../graph/lowering/lowered.ts";
import { reachable } from "../graph/onnx/serialize.ts";
import type { OpType } from "../graph/operators.ts";
import { add, equal, exp, mul, neg, silu, where } from "../graph/ops/elementwise.ts";
import { matmul } from "../graph/ops/linalg.ts";
import { gather, gatherElements, reshape, transpose, unsqueeze } from "../graph/ops/movement.ts";
import { logSoftmax, reduceSum, rmsNorm, softmax } from "../graph/ops/reduce.ts";
import type { Float, Value } from "../graph/value.ts";
import { cpu } from "../runtime/onnxruntime-node.ts";
import { gradientRule, gradients } from "./gradient.ts";

/** A central difference with this step has an error of about h^2 = 1e-10 by truncation and 1e-16 / h = 1e-11 by rounding in float64.
 *  The largest error comes from constants inside a graph (a half, an epsilon, a mean's 1 / n): they are float32, exact to 6e-8. */
const STEP = 1e-5;
const FLOAT64 = { relative: 1e-6, absolute: 1e-7 };

type Build = (s: Sandbox) => Value | readonly Value[];

/** A number that depends on every float output of `build`: the sum of random weights times outputs. */
function weightedSum(s: Sandbox, build: Build): { loss: Float | undefined; parameters: Float[] } {
  const outputs = [build(s)].flat() as Value[];
  const parameters = [...s.graph.inputs.values()].filter((input): input is Float => input.dtype === "float32");
  const floats = outputs.filter((output): output is Float => output.dtype === "float32");
  const terms = floats.map((y) => reduceSum(mul(y, s.float(...y.shape)), { axes: [...y.shape.keys()], keep: false }));
  return { loss: terms.length === 0 ? undefined : terms.reduce(add), parameters };
}

/** Builds the loss twice, with and without its gradients, and compares the gradients with differences and with the engine's. */
async function check(build: Build, ...seed: string[]): Promise<void> {
  const plain = new Sandbox(...seed);
  const { loss } = weightedSum(plain, build);
  plain.graph.output("loss", loss!);
  const s = new Sandbox(...seed);
  const { loss: differentiated, parameters } = weightedSum(s, build);
  const slopes = gradients(differentiated!, parameters);
  slopes.forEach((slope, i) => {
    s.graph.output(`d${parameters[i]!.name}`, slope);
  });
  const [reference, engine] = [evaluate(s.graph, s.feeds), await computed(s.graph, s.feeds)];
  // An engine that lacks an operator gets the same gradients from its decomposition.
  const plainly = usesIn(s.graph).size > 0 ? await computed(s.graph, s.feeds, lacking(cpu, EVERY_USE)) : engine;
  parameters.forEach(({ name, shape }, i) => {
    expect(slopes[i]!.shape, name).toEqual(shape);
    const expected = centralDifferences(name, s.feeds, (feeds) => evaluate(plain.graph, feeds).loss!.data[0]!);
    expect(difference(reference[`d${name}`]!, expected, FLOAT64), `d${name} in float64`).toBeUndefined();
    expect(difference(engine[`d${name}`]!, reference[`d${name}`]!, FLOAT32), `d${name} in the engine`).toBeUndefined();
    expect(difference(plainly[`d${name}`]!, reference[`d${name}`]!, FLOAT32), `d${name}, lowered`).toBeUndefined();
  });
}

function centralDifferences(name: string, feeds: Sandbox["feeds"], loss: (feeds: Sandbox["feeds"]) => number): NdArray {
  const { dtype, shape, data } = feeds[name]!;
  const moved = (i: number, by: number) => loss({ ...feeds, [name]: ndarray(dtype, shape, data.with(i, data[i]! + by)) });
  return ndarray(
    dtype,
    shape,
    data.map((_, i) => (moved(i, STEP) - moved(i, -STEP)) / (2 * STEP)),
  );
}

const ALL = Object.entries(CASES).flatMap(([op, cases]) =>
  Object.entries(cases).map(([title, build]) => ({ op: op as OpType, title, build })),
);
/** Operands without a meaningful central difference. */
const KINKS = new Set(["TopK: ties go to the lower index"]);
/** Uses without a gradient, with the error's message. None returns zeros silently. */
const REFUSED: Readonly<Record<string, RegExp>> = {
  "Concat: named sizes": /Concat has a gradient only along an axis of numeric size/,
  "Concat: an empty axis": /Concat has a gradient only along an axis of numeric size/,
  "Slice: bounds known at run time": /only slices with constant bounds have a gradient/,
  "Slice: an axis of named size": /Slice has a gradient only along an axis of numeric size/,
  "Gather: another axis": /Gather has a gradient only along axis 0/,
  "SimplifiedLayerNormalization: both results": /only the first result of SimplifiedLayerNormalization has a gradient/,
};
const differentiable = ALL.filter(({ op, title, build }) => {
  const { loss, parameters } = weightedSum(new Sandbox(op), build);
  return !("stop" in gradientRule(op)) && loss && parameters.length > 0 && !KINKS.has(`${op}: ${title}`);
});

describe("every rule agrees with central differences", () => {
  const accepted = differentiable.filter(({ op, title }) => !REFUSED[`${op}: ${title}`]);
  test.each(accepted)("$op: $title", ({ op, title, build }) => check(build, op, title));

  test("no rule goes without a case", () => {
    const tested = new Set(accepted.map(({ op }) => op));
    for (const op of Object.keys(CASES) as OpType[]) expect(tested.has(op), op).toBe(!("stop" in gradientRule(op)));
  });
});

test.each(differentiable.filter(({ op, title }) => REFUSED[`${op}: ${title}`]))("$op: $title has no gradient and says so", (refused) => {
  const { loss, parameters } = weightedSum(new Sandbox("refused"), refused.build);
  expect(() => gradients(loss!, parameters)).toThrow(REFUSED[`${refused.op}: ${refused.title}`]!);
});

test("an operator without a rule gives its reason", () => {
  for (const op of Object.keys(CASES) as OpType[]) {
    const rule = gradientRule(op);
    if ("stop" in rule) expect(rule.stop, op).toMatch(/\w+ \w+/);
  }
});

describe("composites", () => {
  test("an attention block with heads, a mask and a residual", () =>
    check((s) => {
      const x = s.float("batch", "sequence", 8);
      const normal = rmsNorm(x, s.positive(8), { epsilon: 1e-6 });
      const heads = (y: Float) => transpose(reshape(y, "batch", "sequence", 2, 4), [0, 2, 1, 3]);
      const [q, k, v] = [1, 2, 3].map(() => heads(matmul(normal, s.float(8, 8), { transB: true, alpha: 8 ** -0.5 })));
      const mask = equal(s.int(4, "batch", "sequence", 1), 0);
      const scores = matmul(q!, k!, { transB: true, alpha: 0.5 });
      const weights = softmax(add(scores, where(transpose(unsqueeze(mask, 1)), -10, 0)));
      const mixed = reshape(transpose(matmul(weights, v!), [0, 2, 1, 3]), "batch", "sequence", 8);
      return add(x, matmul(mixed, s.float(8, 8), { transB: true }));
    }, "attention"));

  test("a gated mlp under a low-rank update", () =>
    check((s) => {
      const x = s.float("batch", "sequence", 6);
      const linear = (y: Float, size: number) => {
        const w = matmul(y, s.float(size, y.shape.at(-1)!), { transB: true });
        return add(w, mul(matmul(matmul(y, s.float(2, y.shape.at(-1)!), { transB: true }), s.float(size, 2), { transB: true }), 0.5));
      };
      return linear(mul(silu(linear(x, 4)), linear(x, 4)), 6);
    }, "mlp"));

  test("cross-entropy, with ignored labels", () =>
    check((s) => {
      const labels = s.int(7, "batch", "sequence");
      const chosen = gatherElements(logSoftmax(s.float("batch", "sequence", 7)), unsqueeze(labels, -1));
      const kept = where(equal(unsqueeze(labels, -1), 3), 0, 1);
      return neg(reduceSum(mul(chosen, kept), { axes: [0, 1, 2], keep: false }));
    }, "cross-entropy"));

  test("a tied embedding: repeated ids in, logits out", () =>
    check((s) => {
      const table = s.float(5, 4);
      const ids = s.given("int64", ["batch", "sequence"], [1, 1, 4, 0, 1, 4]);
      return matmul(gather(table, ids), table, { transB: true });
    }, "tied"));
});

/** d sum(y) / dx in float64. */
function slope(s: Sandbox, y: Float, x: Float): readonly number[] {
  const [dx] = gradients(reduceSum(y, { axes: [...y.shape.keys()], keep: false }), [x]);
  s.graph.output("dx", dx!);
  return evaluate(s.graph, s.feeds).dx!.data;
}

describe("the walk", () => {
  test("a value that is used twice adds its contributions", () => {
    const s = new Sandbox("twice");
    const x = s.given("float32", [2], [3, -1]);
    expect(slope(s, add(mul(x, x), x), x)).toEqual([7, -1]);
  });

  test("a node that was found again, not made again, still counts for each use", () => {
    const s = new Sandbox("hash-consed");
    const x = s.given("float32", [2], [0, 0]);
    expect(exp(x)).toBe(exp(x));
    expect(slope(s, mul(exp(x), mul(exp(x), exp(x))), x)).toEqual([3, 3]);
  });

  test("rows of an embedding that were read several times add up", () => {
    const s = new Sandbox("rows");
    const table = s.float(3, 2);
    expect(slope(s, gather(table, s.given("int64", [4], [2, 0, 2, 2])), table)).toEqual([1, 1, 0, 0, 3, 3]);
  });

  test("a forward node made after the loss does not matter", () => {
    const s = new Sandbox("later");
    const x = s.given("float32", [1], [2]);
    const loss = reduceSum(mul(x, x), { axes: [0], keep: false });
    mul(loss, exp(x));
    expect(slope(s, loss, x)).toEqual([4]);
  });

  test("frozen operands cost no nodes", () => {
    const s = new Sandbox("frozen");
    const [x, low, frozen] = [s.float(2, 4), s.float(4, 3), s.float(3, 3)];
    const y = matmul(matmul(x, low), frozen);
    const forward = s.graph.nodes.length;
    gradients(reduceSum(y, { axes: [0, 1], keep: false }), [low]);
    const products = s.graph.nodes.slice(forward).filter(({ op }) => op === "MatMul");
    expect(products).toHaveLength(2);
  });

  test("modules with low-rank updates of one input share their thin products", () => {
    const s = new Sandbox("thin");
    const [x, table] = [s.float(5, 6), s.float(6, 6)];
    const lows = [1, 2, 3].map((rank) => [s.float(rank, 6), s.float(4, rank)] as const);
    const ys = lows.map(([a, b]) => matmul(matmul(matmul(x, table), a, { transB: true }), b, { transB: true }));
    const loss = reduceSum(ys.reduce(add), { axes: [0, 1], keep: false });
    const parameters = [table, ...lows.flat()];
    s.graph.output("loss", loss);
    const forward = reachable(s.graph).nodes.length;
    gradients(loss, parameters).forEach((gradient, i) => {
      s.graph.output(`d${i}`, gradient);
    });
    const products = reachable(s.graph)
      .nodes.slice(forward)
      .filter(({ op }) => op === "MatMul");
    // One for each B, one for each low state, one for all A, one for the input, one for the table.
    expect(products).toHaveLength(3 + 3 + 1 + 1 + 1);
  });

  test("gradient nodes carry the scope of their forward node", () => {
    const s = new Sandbox("scopes");
    const x = s.float(2);
    const y = s.graph.scope("decoder.block.0", () => exp(x));
    gradients(reduceSum(y, { axes: [0], keep: false }), [x]);
    expect(s.graph.nodes.map(({ scope }) => scope)).toContain("grad/decoder.block.0");
  });

  test("a parameter the loss does not depend on is an error that names it", () => {
    const s = new Sandbox("apart");
    const [x, apart] = [s.float(), s.float()];
    expect(() => gradients(exp(x), [x, apart])).toThrow(/the loss does not depend on x1/);
  });

  test("a loss that is not a scalar is an error", () => {
    const s = new Sandbox("vector");
    const x = s.float(3);
    expect(() => gradients(exp(x), [x])).toThrow(/the loss is a scalar, not \[3\]/);
  });

  test("a gradient that would have to pass an operator without a rule is an error, not a part of the truth", () => {
    const s = new Sandbox("mixture");
    const [x, experts, weights] = [s.float(3, 4), s.int(2, 3, 1), s.float(3, 1)];
    const mixed = s.graph.apply("Mixture", [x, experts, weights, s.float(2, 2, 4), undefined, s.float(2, 2, 4)], {})[0] as Float;
    const loss = reduceSum(add(mixed, x), { axes: [0, 1], keep: false });
    expect(() => gradients(loss, [x])).toThrow(/Mixture has no gradient: the mixture serves inference/);
  });
});
