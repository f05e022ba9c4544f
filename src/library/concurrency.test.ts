/** Models on one base are used side by side: each computes what it computes alone, in whatever order requests come. */

import { describe, expect, test } from "vitest";
import { expectClose, golden } from "../../tests/golden.ts";
import type { LoraAdapter, LoraWeights } from "../adapters/adapter.ts";
import type { Expert } from "../adapters/expert.ts";
import { derivedSeed, type Random, seededRandom, shuffled } from "../base/random.ts";
import { float32, int64 } from "../base/tensor.ts";
import { scoreTokens } from "../evaluation/scoring/score-tokens.ts";
import { type GeneratedTokens, generateBatch } from "../generation/generate.ts";
import type { GenerationOptions } from "../generation/options.ts";
import { MoaWoven } from "../inference/moa-woven.ts";
import { RoutedPool } from "../inference/routed-pool.ts";
import { baseRows, eachRow, namedExperts, ownRows } from "../inference/row-choices.ts";
import { singleAdapter } from "../inference/woven.ts";
import { openMethod, parsedMethod, routerNamed } from "../methods/registry.ts";
import { routerLayers } from "../routing/moa.ts";
import { freshRouters } from "../training/moa-learner.ts";
import { targetModules } from "../training/train.ts";
import { type LoadedModel, loadModel } from "./model.ts";

const BASES = ["t5/model", "llama/model"];
const TOLERANCE = 1e-5;

function randomExperts({ base }: LoadedModel, count: number): Expert[] {
  const targets = targetModules(base, undefined);
  return Array.from({ length: count }, (_, i) => {
    const random = seededRandom(derivedSeed("expert", String(i)));
    const numbers = (size: number, ...shape: readonly number[]) =>
      float32(
        shape,
        Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => size * random.normal()),
      );
    const modules = targets.map((module): [string, LoraWeights] => {
      const { in: inputs, out } = base.modules.get(module)!;
      return [module, { rank: 2, scaling: 1, a: numbers(0.1, 2, inputs), b: numbers(0.1, out, 2) }];
    });
    const gates = new Map(targets.map((module) => [module, numbers(1, base.modules.get(module)!.in)]));
    const adapter: LoraAdapter = { kind: "lora", modules: new Map(modules), warnings: [] };
    return { name: `e${i}`, adapter, gates, warnings: [] };
  });
}

async function sixModels(root: LoadedModel): Promise<LoadedModel[]> {
  const experts = randomExperts(root, 4);
  const setting = { ...root, experts };
  const routers = freshRouters(routerLayers(root.base.architecture), 2, root.base.architecture.hiddenSize, 3);
  const moa = async () => ({ domains: ["e0", "e1"], routers, pooling: "mean", states: "base", training: {} }) as const;
  return [
    root,
    ...[experts[0]!, experts[1]!].map(({ adapter }) => root.withWoven(singleAdapter(adapter, root.base.modules))),
    root.withWoven(await openMethod(setting, parsedMethod("phatgoose"))),
    root.withWoven(await openMethod(setting, parsedMethod("spectr", { topK: 3 }))),
    root.withWoven(await openMethod({ ...setting, moa }, parsedMethod("moa"))),
  ];
}

type Request = () => Promise<readonly number[]>;

function tokens(random: Random, length: number): number[] {
  return Array.from({ length }, () => 3 + random.integer(90));
}

const SAMPLERS: readonly GenerationOptions[] = [
  { temperature: 0 },
  { temperature: 0.8, topK: 20, seed: 5 },
  { temperature: 1.2, topP: 0.9, seed: 6 },
  { temperature: 0, repetitionPenalty: 1.3 },
];

const numbersOf = ({ ids, choices }: GeneratedTokens) => [...ids, ...choices.map(({ logprob }) => logprob!)];

/** Four requests of a model: forward, score and two generations. */
function requestsOf(model: LoadedModel, index: number): Request[] {
  const random = seededRandom(derivedSeed("requests", String(index)));
  const [prompt, other, answer] = [tokens(random, 5 + index), tokens(random, 9 - index), tokens(random, 3)];
  const decoder = model.base.architecture.kind === "encoder-decoder" ? { decoderInputIds: int64([1, 3], [0, ...answer.slice(0, 2)]) } : {};
  const generated = (ids: readonly number[], sampler: GenerationOptions) => async () =>
    numbersOf((await generateBatch(model, [ids], { ...sampler, maxNewTokens: 6, logprobs: 0, ignoreEos: true }))[0]!);
  return [
    async () => [...(await model.forward({ inputIds: int64([1, prompt.length], prompt), ...decoder })).logits.data],
    async () => (await scoreTokens(model, [{ context: prompt, continuations: [answer, other] }])).flat().map(({ sum }) => sum),
    generated(prompt, SAMPLERS[index % SAMPLERS.length]!),
    generated(other, SAMPLERS[(index + 1) % SAMPLERS.length]!),
  ];
}

function expectSame(found: readonly number[], expected: readonly number[]): void {
  expect(found.length).toBe(expected.length);
  expectClose(float32([found.length], found), float32([expected.length], expected), TOLERANCE);
}

describe.each(BASES)("%s", (name) => {
  test("24 requests at once to six models each give what they give alone", async () => {
    await using root = await loadModel(golden(name));
    const requests = (await sixModels(root)).flatMap(requestsOf);
    expect(requests.length).toBe(24);
    const alone: (readonly number[])[] = [];
    for (const request of requests) alone.push(await request());
    expect(new Set(alone.map(String)).size).toBe(24); // the models differ
    for (const seed of [1, 2]) {
      const order = shuffled([...requests.keys()], seededRandom(seed));
      const together = await Promise.all(order.map((i) => requests[i]!()));
      for (const [place, i] of order.entries()) expectSame(together[place]!, alone[i]!);
    }
  });

  test("eight generations go on as they began while experts join and leave", async () => {
    await using root = await loadModel(golden(name));
    const experts = randomExperts(root, 6);
    const options = { temperature: 0.9, seed: 2, maxNewTokens: 8, logprobs: 0, ignoreEos: true };
    const prompts = Array.from({ length: 8 }, (_, i) => tokens(seededRandom(i + 1), 4 + i));
    const first = await openMethod({ ...root, experts: experts.slice(0, 4) }, parsedMethod("phatgoose"));
    if (!(first instanceof RoutedPool)) throw new Error("not a pool that takes experts");
    let pool = first;
    const started: { readonly members: readonly string[]; readonly result: Promise<GeneratedTokens[]> }[] = [];
    for (const [i, prompt] of prompts.entries()) {
      started.push({ members: pool.experts, result: generateBatch(root.withWoven(pool), [prompt], options) });
      await new Promise((resolve) => setImmediate(resolve)); // let those that run take some steps
      pool = i % 2 === 0 ? pool.with(experts[4 + ((i / 2) % 2)]!) : pool.without(pool.experts[i % 3]!);
      if (i % 4 === 3) pool = first;
    }
    for (const [i, { members, result }] of started.entries()) {
      const anew = await openMethod(
        { ...root, experts: members.map((member) => experts.find(({ name }) => name === member)!) },
        parsedMethod("phatgoose"),
      );
      const [expected] = await generateBatch(root.withWoven(anew), [prompts[i]!], options);
      expectSame(numbersOf((await result)[0]!), numbersOf(expected!));
    }
    expect(new Set(started.map(({ members }) => members.join())).size).toBeGreaterThan(3);
  });

  test("rows of one batch use the base, one expert, some, or the router's choice: one graph, one `batch`", async () => {
    await using root = await loadModel(golden(name));
    const experts = randomExperts(root, 4);
    const open = await openMethod({ ...root, experts, rows: ownRows }, parsedMethod("phatgoose"));
    if (!(open instanceof RoutedPool)) throw new Error("not a pool");
    const some = await openMethod({ ...root, experts: experts.slice(1, 3) }, parsedMethod("phatgoose"));
    const whole = await openMethod({ ...root, experts }, parsedMethod("phatgoose"));
    const pairs = [
      [open.withRows(baseRows), root],
      [open.withRows(namedExperts(["e2"])), root.withWoven(singleAdapter(experts[2]!.adapter, root.base.modules))],
      [open.withRows(namedExperts(["e1", "e2"])), root.withWoven(some)],
      [open, root.withWoven(whole)],
    ] as const;
    expect(new Set(pairs.map(([{ batch }]) => batch)).size).toBe(1);
    expect(new Set(pairs.map(([{ id }]) => id)).size).toBe(4);
    const ids = int64([1, 4], [5, 6, 7, 8]);
    const decoder = root.base.architecture.kind === "encoder-decoder" ? { decoderInputIds: int64([1, 2], [0, 9]) } : {};
    const before = root.runner.counts.built;
    const batch = {
      inputIds: int64(
        [4, 4],
        pairs.flatMap(() => [5, 6, 7, 8]),
      ),
      ...("decoderInputIds" in decoder && {
        decoderInputIds: int64(
          [4, 2],
          pairs.flatMap(() => [0, 9]),
        ),
      }),
    };
    const rows = [baseRows, namedExperts(["e2"]), namedExperts(["e1", "e2"]), ownRows];
    const { logits } = await root.withWoven(open.withRows(eachRow(rows))).forward(batch);
    const size = logits.data.length / 4;
    for (const [row, [shared, alone]] of pairs.entries()) {
      const own = (await root.withWoven(shared).forward({ inputIds: ids, ...decoder })).logits;
      const expected = (await alone.forward({ inputIds: ids, ...decoder })).logits;
      expectClose(own, expected, 5e-5);
      expectClose(float32(own.shape, logits.data.slice(row * size, (row + 1) * size)), expected, 5e-5);
    }
    expect(root.runner.counts.built - before).toBe(4); // one for the four that share; to compare with: the base, one adapter, and pools without rows
  });
});

test("a MoA model decided by vote, by the last router, layer by layer, and with the domain given: one graph, one `batch`", async () => {
  await using root = await loadModel(golden("llama/model"));
  const vote = (await sixModels(root)).at(-1)!.woven;
  if (!(vote instanceof MoaWoven)) throw new Error("not a MoA model");
  const all = [vote, ...[{ rule: "last" as const }, { rule: "per-layer" as const }, { domain: "e1" }].map((way) => vote.withDecision(way))];
  expect(new Set(all.map(({ batch }) => batch)).size).toBe(1);
  expect(new Set(all.map(({ id }) => id)).size).toBe(4);
  const batch = { inputIds: int64([1, 3], [5, 6, 7]) };
  for (const woven of all) await root.withWoven(woven).forward(batch);
  expect(root.runner.counts.built).toBe(2); // what decides, and what answers
});

test("disposing a model frees what it alone uses; the base's others go on", async () => {
  await using root = await loadModel(golden("llama/model"));
  const [one, other] = randomExperts(root, 2).map(({ adapter }) => root.withWoven(singleAdapter(adapter, root.base.modules)));
  const batch = { inputIds: int64([1, 3], [5, 6, 7]) };
  const expected = (await other!.forward(batch)).logits;
  await root.forward(batch);
  expect(root.runner.counts).toEqual({ built: 2, kept: 2 });
  await one!.dispose(); // the other one uses the same graph
  expect((await other!.forward(batch)).logits).toEqual(expected);
  expect(root.runner.counts).toEqual({ built: 2, kept: 2 });
  const running = other!.forward(batch);
  await other!.dispose();
  expect((await running).logits).toEqual(expected);
  expect(root.runner.counts).toEqual({ built: 2, kept: 1 });
  await root.dispose();
  await expect(root.forward(batch)).rejects.toThrow(/The model was disposed/);
});

test("sessions beyond the limit go, the least recently used first", async () => {
  await using root = await loadModel(golden("llama/model"), { sessions: 2 });
  const batch = { inputIds: int64([1, 3], [5, 6, 7]) };
  const experts = randomExperts(root, 3);
  const pools = [1, 2, 3].map((count) => new RoutedPool(experts.slice(0, count), root.base.modules, { router: routerNamed("phatgoose") }));
  for (const pool of pools) await root.withWoven(pool).forward(batch);
  expect(root.runner.counts.kept).toBe(2);
  await root.forward(batch);
  expect(root.runner.counts).toMatchObject({ kept: 2 });
});
