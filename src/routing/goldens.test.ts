import { expect, test } from "vitest";
import { expectClose, golden, goldenTensors } from "../../tests/golden.ts";
import type { Expert } from "../adapters/expert.ts";
import { float32, type HostTensor } from "../base/tensor.ts";
import { createGraph } from "../graph/graph.ts";
import { RoutedPool } from "../inference/routed-pool.ts";
import type { HostRoute } from "../inference/runner.ts";
import { loadModel } from "../library/model.ts";
import { arrow } from "../methods/arrow.ts";
import { averageActivation } from "../methods/average-activation.ts";
import { METHOD_NAMES, parsedMethod, routerOfMethod, scoresTokens } from "../methods/registry.ts";
import { Session } from "../runtime/session.ts";
import { averageActivations } from "../training/activations.ts";
import type { Encoded } from "../training/batches.ts";
import { shiftedRight, t5Experts } from "./experts.test-helper.ts";
import { chosen } from "./router.ts";
import { torchNormal } from "./torch-normal.ts";

/** Each token's experts are the k best of the reference's weights over all, with those weights renormalized. */
function expectRoute({ experts, weights }: HostRoute, all: HostTensor<"float32">, tolerance: number): void {
  const [count = 0, k = 0] = [all.shape.at(-1), experts.shape.at(-1)];
  for (let token = 0; token * count < all.data.length; token++) {
    const row = [...all.data.subarray(token * count, (token + 1) * count)];
    const order = row.map((_, i) => i).sort((i, j) => row[j]! - row[i]! || i - j);
    const mine = [...experts.data.subarray(token * k, (token + 1) * k)].map(Number);
    const sum = order.slice(0, k).reduce((total, i) => total + row[i]!, 0);
    mine.forEach((expert, j) => {
      // A different choice is right only if the reference's weights are equal within float32 noise.
      expect(Math.abs(row[expert]! - row[order[j]!]!), `token ${token}`).toBeLessThan(expert === order[j] ? 1 : 1e-6);
      expect(Math.abs(weights.data[token * k + j]! - row[expert]! / sum), `token ${token}`).toBeLessThan(tolerance);
    });
  }
}

const ARROW_CASES = [
  { scaleBySqrt: true, temperature: 10 },
  { scaleBySqrt: false, temperature: 10 },
  { scaleBySqrt: true, temperature: 1 },
  { scaleBySqrt: false, temperature: 1 },
];
test.each(ARROW_CASES)("Arrow routes a T5 as the authors' code: $scaleBySqrt, T = $temperature", async ({ scaleBySqrt, temperature }) => {
  await using model = await loadModel(golden("t5/model"));
  const expected = await goldenTensors("arrow/routed_t5.safetensors");
  const name = `scaling_${scaleBySqrt}.top2.temperature_${temperature}.0.`;
  const pool = new RoutedPool(await t5Experts(model.base.modules), model.base.modules, { router: arrow({ scaleBySqrt, temperature }) });
  const { logits, routes } = await model.withWoven(pool).forward(
    {
      inputIds: expected.int("input_ids"),
      attentionMask: expected.int("attention_mask"),
      decoderInputIds: shiftedRight(expected.int("labels")),
    },
    { routes: true },
  );
  expectClose(logits, expected.float(`${name}logits`), 1e-4);
  expect(routes!.size).toBe(36);
  for (const [module, route] of routes!) expectRoute(route, expected.float(`${name}rw.${module}`), 1e-4);
});

test("Arrow's prototypes are the authors' up to their sign", async () => {
  await using model = await loadModel(golden("t5/model"));
  const expected = await goldenTensors("arrow/prototypes_t5.safetensors");
  const [router, mean] = [arrow(), arrow({ prototype: { kind: "mean" } })];
  for (const [i, expert] of (await t5Experts(model.base.modules)).entries()) {
    for (const module of expert.adapter.modules.keys()) {
      const simple = expected.float(`simple.${module}._addons.router.expert_embeddings__${i}`);
      expectClose(mean.prototype(expert, module)!, { ...simple, shape: [1, ...simple.shape] }, 1e-6);
      const { data: theirs } = expected.float(`top1_eigen_weighted_vector.${module}._addons.router.expert_embeddings__${i}`);
      const { data: ours } = router.prototype(expert, module)!;
      const sign = Math.sign(ours.reduce((sum, value, j) => sum + value * theirs[j]!, 0));
      ours.forEach((value, j) => {
        expect(Math.abs(sign * value - theirs[j]!)).toBeLessThan(1e-5);
      });
    }
  }
});

test("the power iteration starts where PEFT's does", async () => {
  const expected = await goldenTensors("peft_arrow/peft_arrow.safetensors");
  for (const width of [64, 96]) {
    const start = float32([width], torchNormal(width, 42));
    expectClose(start, expected.float(`init.${width}`), 1e-6);
  }
});

test.each([
  ["top1", 1, 1],
  ["top2", 2, 1],
  ["top3_temp", 3, 0.5],
] as const)("PEFT's %s weights come of its similarities", async (name, k, temperature) => {
  const expected = await goldenTensors("peft_arrow/peft_arrow.safetensors");
  const module = "model.layers.0.self_attn.q_proj";
  const similarity = expected.float(`${name}.sim.${module}`);
  const graph = createGraph("chosen");
  const { experts, weights } = chosen(graph.float("scores", 2, 10, 3), k);
  graph.output("experts", experts);
  graph.output("weights", weights);
  await using session = await Session.load(graph);
  const scores = float32(
    [2, 10, 3],
    similarity.data.map((value) => value / temperature),
  );
  const route = await session.run({ scores });
  const coefficients = expected.float(`${name}.coeff.${module}`).data;
  route.weights!.data.forEach((weight, at) => {
    const expert = Number(route.experts!.data[at]);
    expect(Number(weight)).toBeCloseTo(coefficients[Math.floor(at / k) * 3 + expert]!, 5);
  });
});

test("the two Arrows have their own defaults", () => {
  expect(parsedMethod("arrow")).toEqual({
    kind: "arrow",
    topK: 2,
    renormalize: true,
    temperature: 10,
    scaleBySqrt: true,
    prototype: "singular",
  });
  expect(parsedMethod("arrow-peft")).toEqual({
    kind: "arrow-peft",
    topK: 3,
    renormalize: true,
    temperature: 1,
    scaleBySqrt: false,
    seed: 42,
  });
  expect(parsedMethod("arrow:temperature=1,scaleBySqrt=false", { topK: 5 })).toMatchObject({
    topK: 5,
    temperature: 1,
    scaleBySqrt: false,
  });
  expect(parsedMethod("arrow-peft:general=5+6")).toMatchObject({ general: ["5", "6"] });
  expect(parsedMethod("single:expert=007")).toEqual({ kind: "single", expert: "007" });
  expect(() => parsedMethod("arrow:temprature=1")).toThrow(/temprature/);
});

/** An expert's data in the goldens: inputs padded with 0, and the generated targets. */
async function activationExamples(expert: number): Promise<Encoded[]> {
  const file = await goldenTensors("average_activation/average_activation.safetensors");
  return [0, 1].flatMap((batch) => {
    const rows = (name: string) => {
      const { shape, data } = file.int(`expert${expert}.batch${batch}.${name}`);
      const width = shape[1]!;
      return Array.from({ length: shape[0]! }, (_, i) => [...data.subarray(i * width, (i + 1) * width)].map(Number));
    };
    const outputs = rows("output_ids");
    return rows("input_ids").map((ids, i) => ({ inputs: ids.slice(0, lastReal(ids) + 1), labels: outputs[i]!.slice(1) }));
  });
}
function lastReal(ids: readonly number[]): number {
  return ids.reduce((last, id, i) => (id === 0 ? last : i), 0);
}

test("average activations equal the authors', and so does routing by them", async () => {
  await using model = await loadModel(golden("t5/model"));
  const expected = await goldenTensors("average_activation/average_activation.safetensors");
  const experts: Expert[] = [];
  for (const [i, expert] of (await t5Experts(model.base.modules)).slice(0, 3).entries()) {
    const activations = await averageActivations(model, expert.adapter, await activationExamples(i), { positions: "last", batchSize: 3 });
    for (const [module, mean] of activations) {
      expectClose(mean, expected.float(`embedding.${module}._addons.router.expert_embeddings__${i}`), 2e-5);
    }
    experts.push({ ...expert, activations });
  }
  for (const [name, router] of [
    ["original", averageActivation()],
    ["cosine", averageActivation({ normalize: "unit", scaleBySqrt: false })],
  ] as const) {
    const pool = new RoutedPool(experts, model.base.modules, { router });
    const { logits, routes } = await model.withWoven(pool).forward(
      {
        inputIds: expected.int("input_ids"),
        attentionMask: expected.int("attention_mask"),
        decoderInputIds: shiftedRight(expected.int("labels")),
      },
      { routes: true },
    );
    expectClose(logits, expected.float(`${name}.logits`), 2e-4);
    for (const [module, route] of routes!) expectRoute(route, expected.float(`${name}.rw.${module}`), 1e-4);
  }
});

test("over all targets, a decoder module's mean is that of every position", async () => {
  await using model = await loadModel(golden("t5/model"));
  const [expert] = await t5Experts(model.base.modules);
  const [example] = await activationExamples(0);
  const whole = await averageActivations(model, expert!.adapter, [example!]);
  const prefixes = example!.labels.map((_, i) => ({ ...example!, labels: example!.labels.slice(0, i + 1) }));
  const last = await averageActivations(model, expert!.adapter, prefixes, { positions: "last" });
  // The decoder is causal, so the mean over positions is the mean over prefixes of the last position.
  for (const [module, mean] of whole) expectClose(mean, last.get(module)!, 2e-5);
});

test("every name of the registry makes a router of that name", () => {
  for (const text of METHOD_NAMES.filter(scoresTokens)) {
    const choice = parsedMethod(text === "single" ? "single:expert=a" : text);
    expect(routerOfMethod(choice).name).toBe(choice.kind);
  }
});
