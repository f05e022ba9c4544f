import { expect, test } from "vitest";
import { expectClose, golden, goldenTensors } from "../../tests/golden.ts";
import type { Expert } from "../adapters/expert.ts";
import { loraDelta, trainingGate } from "../adapters/lora.ts";
import { gradients } from "../autodiff/gradient.ts";
import { float32, type HostTensor } from "../base/tensor.ts";
import { createGraph } from "../graph/graph.ts";
import { mul } from "../graph/ops/elementwise.ts";
import { matmul } from "../graph/ops/linalg.ts";
import { reduceSum } from "../graph/ops/reduce.ts";
import { RoutedPool } from "../inference/routed-pool.ts";
import { loadModel } from "../library/model.ts";
import { phatgoose } from "../methods/phatgoose.ts";
import { Session } from "../runtime/session.ts";
import { row, shiftedRight, t5Experts, transposed } from "./experts.test-helper.ts";
import { routed } from "./mixture.ts";
import type { Route, Router } from "./router.ts";
import { ExpertStack, stackShapes } from "./stack.ts";

type Float = HostTensor<"float32">;

test("a routed T5's logits and every top-2 choice and weight equal the authors'", async () => {
  await using model = await loadModel(golden("t5/model"));
  const expected = await goldenTensors("phatgoose_t5/routed.safetensors");
  const pool = model.withWoven(new RoutedPool(await t5Experts(model.base.modules), model.base.modules, { router: phatgoose() }));
  const decoderInputIds = shiftedRight(expected.int("labels"));
  const { logits, routes } = await pool.forward(
    { inputIds: expected.int("input_ids"), attentionMask: expected.int("attention_mask"), decoderInputIds },
    { routes: true },
  );
  expectClose(logits, expected.float("logits"), 1e-4);
  const modules = expected.names.filter((name) => name.startsWith("topk_indices.")).map((name) => name.slice("topk_indices.".length));
  expect([...routes!.keys()].sort()).toEqual(modules.sort());
  for (const module of modules) {
    const { experts, weights } = routes!.get(module)!;
    // The smallest gap between a second and a third weight is far above float32 noise, so every choice must agree.
    expect([...experts.data], module).toEqual([...expected.int(`topk_indices.${module}`).data]);
    expectClose(weights, expected.float(`topk_weights.${module}`), 2e-5);
  }
});

interface Layer {
  readonly delta: Float;
  readonly experts: HostTensor<"int64">;
  readonly weights: Float;
}

/** One routed projection with the golden layer's experts, k per token. */
async function layer(k: number, router: Router = phatgoose()): Promise<Layer> {
  const file = await goldenTensors("phatgoose_layer/layer.safetensors");
  const experts = Array.from({ length: 7 }, (_, i): Expert => {
    const lora = { rank: 4, scaling: 1 / 4, a: transposed(row(file.float("layer1"), i)), b: transposed(row(file.float("layer2"), i)) };
    const gates = new Map([["m", row(file.float("gates"), i)]]);
    return { name: `e${i}`, adapter: { kind: "lora", modules: new Map([["m", lora]]), warnings: [] }, gates, warnings: [] };
  });
  const shapes = stackShapes(experts, new Map([["m", { in: 32, out: 48 }]]), router);
  const graph = createGraph("layer");
  const onRoute = (_: string, route: Route) => {
    graph.output("experts", route.experts);
    graph.output("weights", route.weights);
  };
  const linear = routed(graph, (x) => matmul(x, graph.float("W", 48, 32), { transB: true }), { router, topK: k, modules: shapes, onRoute });
  graph.output("out", linear(graph.float("x", "batch", "sequence", 32), "m", { in: 32, out: 48 }));
  await using session = await Session.load(graph);
  const feeds = { ...ExpertStack.of(shapes, router, experts).feeds, x: file.get("x"), W: float32([48, 32]) };
  const { out, experts: chosen, weights } = await session.run(feeds);
  return { delta: out as Float, experts: chosen as HostTensor<"int64">, weights: weights as Float };
}

test.each([1, 2, 3, 7])("the authors' layer with top-%i", async (k) => {
  const file = await goldenTensors("phatgoose_layer/layer.safetensors");
  const { delta, experts, weights } = await layer(k);
  expect([...experts.data]).toEqual([...file.int(`top${k}.topk_indices`).data]);
  // The authors add 1e-6 to the sum of the weights.
  expectClose(weights, file.float(`top${k}.topk_weights`), 2e-5);
  expectClose(delta, file.float(`top${k}.delta`), 1e-5);
});

test.each([
  ["top2_nonorm", phatgoose({ renormalize: false })],
  ["top2_noscale", phatgoose({ scaleBySqrt: false })],
] as const)("the authors' layer, %s", async (name, router) => {
  const file = await goldenTensors("phatgoose_layer/layer.safetensors");
  const { delta, experts, weights } = await layer(2, router);
  expect([...experts.data]).toEqual([...file.int(`${name}.topk_indices`).data]);
  expectClose(weights, file.float(`${name}.topk_weights`), 2e-5);
  expectClose(delta, file.float(`${name}.delta`), 1e-5);
});

test.each([
  ["dot", phatgoose({ normalize: "none", renormalize: false, topK: 7 })],
  ["cosine", phatgoose({ normalize: "unit", renormalize: false, topK: 7 })],
] as const)("the authors' other comparisons: %s", async (name, router) => {
  const expected = (await goldenTensors("phatgoose_layer/layer.safetensors")).float(`router_${name}.routing_weights`);
  const { experts, weights } = await layer(7, router);
  weights.data.forEach((weight, at) => {
    expect(weight).toBeCloseTo(expected.data[Math.floor(at / 7) * 7 + Number(experts.data[at])]!, 5);
  });
});

test.each([4, 5, 6])("top-%i of the authors' weights over all experts, renormalized", async (k) => {
  const all = (await goldenTensors("phatgoose_layer/layer.safetensors")).float("top2.routing_weights");
  const { experts, weights } = await layer(k);
  for (let token = 0; token < 18; token++) {
    const row = [...all.data.subarray(token * 7, token * 7 + 7)];
    const order = row
      .map((_, i) => i)
      .sort((i, j) => row[j]! - row[i]!)
      .slice(0, k);
    const sum = order.reduce((total, i) => total + row[i]!, 0);
    expect([...experts.data.subarray(token * k, token * k + k)].map(Number)).toEqual(order);
    order.forEach((i, j) => {
      expect(weights.data[token * k + j]).toBeCloseTo(row[i]! / sum, 5);
    });
  }
});

test.each(["zero", "random"])("the authors' gate while it trains, from a %s start: value, output and gradient", async (start) => {
  const file = await goldenTensors("phatgoose_layer/layer.safetensors");
  const graph = createGraph("gate");
  const x = graph.float("x", 2, 9, 32);
  const gate = graph.float("v", 32);
  const lora = { a: graph.float("A", 4, 32), b: graph.float("B", 48, 4), scaling: 1 / 4 };
  const value = trainingGate(x, gate);
  const delta = loraDelta(mul(x, value), lora);
  const loss = reduceSum(mul(delta, graph.float("C", 2, 9, 48)), { axes: [0, 1, 2], keep: false });
  graph.output("value", value);
  graph.output("delta", delta);
  graph.output("gradient", gradients(loss, [gate])[0]!);
  await using session = await Session.load(graph);
  const v = start === "zero" ? float32([32]) : file.float("gate.v_random");
  const [a, b] = [transposed(row(file.float("layer1"), 0)), transposed(row(file.float("layer2"), 0))];
  const results = await session.run({ x: file.get("x"), v, A: a, B: b, C: file.get("gate.C") });
  expectClose({ ...results.value!, shape: [2, 9] }, file.float(`gate.${start}.gate_value`), 1e-6);
  const out = (results.delta as Float).data.map((d, i) => d + file.float("base_out").data[i]!);
  expectClose(float32([2, 9, 48], out), file.float(`gate.${start}.out`), 1e-5);
  expectClose(results.gradient!, file.float(`gate.${start}.grad`), 1e-4);
});
