/** @file Properties of PHATGOOSE and similar routers that hold for all inputs. The numbers are those of the original list of properties.
 *  (Number 7, of Arrow and SpectR, is in src/adapters/linalg.test.ts and src/routing.) */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import type { LoraAdapter } from "../src/adapters/adapter.ts";
import type { Expert } from "../src/adapters/expert.ts";
import { foldedWeight, loraProduct, mergeAdapters } from "../src/adapters/merge.ts";
import { seededRandom } from "../src/base/random.ts";
import { float32, type HostTensor, int64 } from "../src/base/tensor.ts";
import { saveCheckpoint } from "../src/checkpoint/checkpoint.ts";
import { readTensor } from "../src/checkpoint/safetensors.ts";
import { bestChoice, choiceScore } from "../src/evaluation/scoring/rank.ts";
import { Rows } from "../src/generation/rows.test-helper.ts";
import { createGraph } from "../src/graph/graph.ts";
import type { Batch } from "../src/inference/batch.ts";
import { RoutedPool } from "../src/inference/routed-pool.ts";
import { singleAdapter } from "../src/inference/woven.ts";
import { loadModel } from "../src/library/model.ts";
import { phatgoose } from "../src/methods/phatgoose.ts";
import { t5Experts } from "../src/routing/experts.test-helper.ts";
import { Session } from "../src/runtime/session.ts";
import { adapterLearner, gateLearner } from "../src/training/learner.ts";
import { expectClose, golden, goldenTensors, maxDifference } from "./golden.ts";
import { differentiated } from "./gradients.ts";

const NOISE = 5e-5; // float32 against float32, the same numbers added in another order; logits reach 10
const FIRST = "encoder.block.0.layer.0.SelfAttention.q"; // its input is the embeddings, for any experts

const model = await loadModel(golden("t5/model"));
const experts = (await t5Experts(model.base.modules)).map(({ adapter, gates, ...rest }) => {
  if (adapter.kind !== "lora" || !gates) throw new Error("not a LoRA with gates");
  return { ...rest, adapter, gates };
});
const base = await goldenTensors("t5/golden.safetensors");
const batch: Batch = {
  inputIds: base.int("input_ids"),
  attentionMask: base.int("attention_mask"),
  decoderInputIds: base.int("decoder_input_ids"),
};
afterAll(() => model.dispose());

async function routed(members: readonly Expert[], topK = 2, given: Batch = batch) {
  const pool = new RoutedPool(members, model.base.modules, { router: phatgoose({ topK }) });
  const { logits, routes } = await model.withWoven(pool).forward(given, { routes: true });
  return { logits, routes: routes! };
}
async function alone(adapter: LoraAdapter) {
  return (await model.withWoven(singleAdapter(adapter, model.base.modules)).forward(batch)).logits;
}

test("1: a pool of one expert is that expert, and is the base with W + B A / r for W", async () => {
  const [expert] = experts;
  const { logits } = await routed([expert!]);
  expectClose(logits, await alone(expert!.adapter), NOISE);
  const folder = await mkdtemp(join(tmpdir(), "skein-folded-"));
  const tensors = new Map<string, HostTensor>();
  for (const [name, info] of model.base.checkpoint.tensors) {
    const weight = (await readTensor(info)) as HostTensor<"float32">;
    const lora = expert!.adapter.modules.get(name.replace(/\.weight$/, ""));
    tensors.set(name, lora ? foldedWeight(weight, lora) : weight);
  }
  await saveCheckpoint(folder, { config: model.base.checkpoint.config, tensors });
  await using folded = await loadModel(folder);
  expectClose(logits, (await folded.forward(batch)).logits, NOISE);
  await rm(folder, { recursive: true });
});

test.each([1, 2, 4])("2: copies of one expert with other gates are that expert, with top-%i", async (k) => {
  const copies = experts.slice(0, 4).map(({ name, gates, warnings }) => ({ name, gates, warnings, adapter: experts[0]!.adapter }));
  const { logits } = await routed(copies, k);
  expectClose(logits, await alone(experts[0]!.adapter), NOISE);
});

test("3: permuting experts permutes the choices and nothing else", async () => {
  const order = [4, 2, 6, 0, 1, 5, 3];
  const [straight, permuted] = [await routed(experts), await routed(order.map((i) => experts[i]!))];
  expectClose(permuted.logits, straight.logits, NOISE);
  for (const [module, { experts: chosen, weights }] of permuted.routes) {
    expect([...chosen.data].map((i) => BigInt(order[Number(i)]!))).toEqual([...straight.routes.get(module)!.experts.data]);
    expectClose(weights, straight.routes.get(module)!.weights, NOISE);
  }
});

/** The router's scores of one token for experts with these gates. */
async function scores(token: readonly number[], gates: readonly (readonly number[])[]): Promise<number[]> {
  const [n, count] = [token.length, gates.length];
  const router = phatgoose();
  const prototypes = gates.map((gate) => {
    const expert: Expert = { ...experts[0]!, gates: new Map([[FIRST, float32([n], gate)]]) };
    return router.prototype(expert, FIRST)!.data;
  });
  const graph = createGraph("scores");
  graph.output("scores", router.scores(graph.float("x", 1, 1, n), graph.float("prototypes", count, n), 1));
  await using session = await Session.load(graph);
  const feeds = {
    x: float32([1, 1, n], token),
    prototypes: float32(
      [count, n],
      prototypes.flatMap((p) => [...p]),
    ),
  };
  return Array.from((await session.run(feeds)).scores!.data, Number);
}
const normal = (n: number, seed: number, scale = 1) => {
  const random = seededRandom(seed);
  return Array.from({ length: n }, () => scale * random.normal());
};

test("3: an expert whose gate is 0 scores exactly 0", async () => {
  expect((await scores(normal(64, 1), [normal(64, 2), Array(64).fill(0)]))[1]).toBe(0);
  const unmoved = { ...experts[6]!, gates: new Map([...experts[6]!.gates].map(([m, gate]) => [m, float32(gate.shape)])) };
  const [six, seven] = [await routed(experts.slice(0, 6), 6), await routed([...experts.slice(0, 6), unmoved], 7)];
  // Among all weights, those of the six keep their ratios: only one term e^0 was added.
  const ratios = ({ routes }: typeof six) => {
    const { experts: chosen, weights } = routes.get(FIRST)!;
    const [k, of] = [weights.shape[2]!, new Map<bigint, number>()];
    for (let j = 0; j < k; j++) of.set(chosen.data[j]!, weights.data[j]!); // the first token's
    return [1n, 2n, 3n, 4n, 5n].map((z) => of.get(z)! / of.get(0n)!);
  };
  for (const [i, ratio] of ratios(seven).entries()) expect(ratio / ratios(six)[i]!).toBeCloseTo(1, 4);
});

test("4: untrained gates halve every update, and only gates learn", async () => {
  const { adapter } = experts[0]!;
  const halved = new Map([...adapter.modules].map(([module, lora]) => [module, { ...lora, scaling: lora.scaling / 2 }]));
  const names = ["input_ids", "attention_mask", "decoder_input_ids", "labels"];
  const training = {
    feeds: Object.fromEntries(names.map((name) => [name, base.int(name)])),
    sizes: { batch: 4, sequence: 24, targets: 11 },
  };
  const gated = await differentiated(model, gateLearner(model.base, adapter), training);
  const half = await differentiated(model, adapterLearner(model.base, { ...adapter, modules: halved }), training);
  expectClose(gated.perToken, half.perToken, NOISE);
  expect([...gated.gradients.keys()].sort()).toEqual([...adapter.modules.keys()].map((module) => `${module}.gate`).sort());
  for (const gradient of gated.gradients.values()) expect(gradient.data.some((value) => value !== 0)).toBe(true);
});

function pearson(a: readonly number[], b: readonly number[]): number {
  const centred = (v: readonly number[]) => v.map((value) => value - v.reduce((sum, other) => sum + other, 0) / v.length);
  const [p, q] = [centred(a), centred(b)];
  return p.reduce((sum, value, i) => sum + value * q[i]!, 0) / (Math.hypot(...p) * Math.hypot(...q));
}

test("5: a score is sqrt(n) times Pearson's correlation, less what 1e-5 takes from gates that moved little", async () => {
  const n = 2048;
  const token = normal(n, 3);
  const gate = token.map((value, i) => 0.2 * value + normal(n, 4)[i]!);
  const scales = [1e3, 0.05, 0.005, 0.0015, 0.0005];
  const deviation = Math.sqrt(
    gate.reduce((sum, value) => sum + value ** 2, 0) / n - (gate.reduce((sum, value) => sum + value, 0) / n) ** 2,
  );
  const found = await scores(
    token,
    scales.map((scale) => gate.map((value) => (value * scale) / deviation)),
  );
  const ideal = Math.sqrt(n) * pearson(token, gate);
  expect(found[0]).toBeCloseTo(ideal, 3);
  for (const [i, scale] of scales.entries()) expect(found[i]! / ideal).toBeCloseTo(scale / Math.sqrt(scale ** 2 + 1e-5), 4);
});

test("6: merged experts are the mean of the products, not the product of the means", async () => {
  const adapters = experts.slice(0, 3).map(({ adapter }) => adapter);
  const merged = mergeAdapters(adapters, { kind: "average" });
  const products = adapters.map(({ modules }) => loraProduct(modules.get(FIRST)!));
  const mean = products[0]!.map((_, i) => products.reduce((sum, product) => sum + product[i]! / 3, 0));
  const lora = merged.modules.get(FIRST)!;
  expect(lora.rank).toBe(3 * 4);
  const distance = (a: Float64Array) => Math.max(...a.map((value, i) => Math.abs(value - mean[i]!)));
  expect(distance(loraProduct(lora))).toBeLessThan(1e-6);
  const crossed = mergeAdapters(adapters, { kind: "linear" }, [1 / 3, 1 / 3, 1 / 3]);
  expect(distance(loraProduct(crossed.modules.get(FIRST)!))).toBeGreaterThan(1e-3);
  expect(maxDifference(await alone(crossed), await alone(merged))).toBeGreaterThan(1e-3);
});

test("8: decoding with a cache gives the logits of the full forward, token by token", async () => {
  const [prompt, answer] = [
    [5, 9, 21, 7, 1],
    [3, 44, 15, 60, 8],
  ];
  const ids = (tokens: readonly number[]) => int64([1, tokens.length], tokens);
  const { logits } = await routed(experts, 2, { inputIds: ids(prompt), decoderInputIds: ids([0, ...answer]) });
  const pool = model.withWoven(new RoutedPool(experts, model.base.modules, { router: phatgoose({ topK: 2 }) }));
  const { rows, ...first } = await Rows.start(pool, [prompt]);
  const steps = [first];
  for (const token of answer) steps.push(await rows.append([[token]]));
  const width = logits.shape[2]!;
  for (const [t, step] of steps.entries()) {
    expectClose(step.logits, float32([1, width], logits.data.slice(t * width, (t + 1) * width)), 1e-4);
  }
});

/** The batch's rows in another order, with this many padding slots before and after. */
function rearranged({ inputIds, attentionMask, decoderInputIds }: Batch, order: readonly number[], before: number, after: number): Batch {
  const pick = ({ shape, data }: HostTensor<"int64">, [left, right]: readonly [number, number], fill: number) => {
    const width = shape[1]!;
    const rows = order.flatMap((i) => [
      ...Array<number>(left).fill(fill),
      ...Array.from(data.slice(i * width, (i + 1) * width), Number),
      ...Array<number>(right).fill(fill),
    ]);
    return int64([order.length, left + width + right], rows);
  };
  return {
    inputIds: pick(inputIds, [before, after], 77), // any token may be in the padding
    attentionMask: pick(attentionMask!, [before, after], 0),
    decoderInputIds: pick(decoderInputIds!, [0, 0], 0),
  };
}

test("9: neither padding, on either side, nor the company of other rows changes a routed row", async () => {
  const whole = await routed(experts);
  for (const [order, before, after] of [
    [[3, 1, 0, 2], 0, 0],
    [[0, 1, 2, 3], 5, 0],
    [[2, 0], 3, 4],
    [[1], 0, 9],
  ] as const) {
    const { logits } = await routed(experts, 2, rearranged(batch, order, before, after));
    const size = whole.logits.data.length / 4;
    const expected = order.flatMap((i) => [...whole.logits.data.slice(i * size, (i + 1) * size)]);
    expectClose(logits, float32(logits.shape, expected), NOISE);
  }
});

test("10: a choice twice as long with the same mean ties, and no choice competes with padding", () => {
  const [short, long] = [
    { sum: -1.5, tokens: 3 },
    { sum: -3, tokens: 6 },
  ];
  const score = (choice: typeof short) => choiceScore(choice, "", "token_mean");
  expect(Math.abs(score(short) - score(long))).toBeLessThan(1e-6); // the authors' epsilon in the denominator
  expect(bestChoice([short, short], ["first", "second"], "token_mean")).toBe(0);
  expect(bestChoice([{ sum: -4, tokens: 3 }, long], ["short", "much longer"], "token_mean")).toBe(1);
});
