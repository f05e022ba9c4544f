/** @file Where logits stay on a device, the best of them give the tokens that all of them give. */

import { describe, expect, test } from "vitest";
import { ENGINES_HERE, keeping } from "../../tests/engines.ts";
import { golden } from "../../tests/golden.ts";
import { seededRandom } from "../base/random.ts";
import { float32 } from "../base/tensor.ts";
import { createGraph } from "../graph/graph.ts";
import { loadModel } from "../library/model.ts";
import type { Engine, Session } from "../runtime/engine.ts";
import { cpu } from "../runtime/onnxruntime-node.ts";
import { type Candidates, readLogits } from "./candidates.ts";
import { generateBatch } from "./generate.ts";
import { type GenerationOptions, generationSettings } from "./options.ts";
import { largest, Sampler } from "./sampler.ts";
import { randomPool } from "./woven.test-helper.ts";

const ENGINES = [keeping, ...ENGINES_HERE.filter((engine) => engine !== cpu)];
const bare = { config: {}, directory: "model" };

describe.each(ENGINES)("on $name", (engine) => {
  const ROWS = 3;
  /** Few levels, so that many are equal. */
  const tied = (vocabulary: number, levels: number) => {
    const random = seededRandom(vocabulary + levels);
    return Float32Array.from({ length: ROWS * vocabulary }, () => random.integer(levels) - 2);
  };

  test.each([
    [300, 1],
    [300, 7],
    [2048, 1],
    [5000, 3],
    [5000, 40],
    [5003, 4000],
    [40_000, 1000],
  ])("of %i logits on %i levels the best are those of a stable sort", async (vocabulary, levels) => {
    const data = tied(vocabulary, levels);
    const logits = await engine.upload(float32([ROWS, 1, vocabulary], data));
    const sessions: Session[] = [];
    for (const needed of [1, 2, 64, 256]) {
      const row = await readLogits(logits, needed, async (_, build) => {
        const graph = createGraph("best");
        build(graph);
        const session = await engine.load(graph);
        sessions.push(session);
        return session;
      });
      for (let i = 0; i < ROWS; i++) {
        const own = data.subarray(i * vocabulary, (i + 1) * vocabulary);
        const { ids, logits: best } = row(i) as Candidates;
        expect(ids).toEqual(largest(own, ids.length));
        expect(best).toEqual(Float32Array.from(ids, (id) => own[id]!));
        expect(ids.length).toBeGreaterThanOrEqual(needed);
      }
    }
    logits.dispose();
    for (const session of sessions) await session.dispose();
  });

  test("more candidates than a graph has, or all, are the whole logits", async () => {
    const data = tied(300, 5);
    const logits = await engine.upload(float32([ROWS, 1, 300], data));
    for (const needed of [257, Number.POSITIVE_INFINITY]) {
      const row = await readLogits(logits, needed, () => Promise.reject(new Error("no graph")));
      expect(row(2)).toEqual(data.subarray(600));
    }
    logits.dispose();
  });
});

const OPTIONS: Readonly<Record<string, GenerationOptions>> = {
  greedy: { temperature: 0 },
  "top-k": { temperature: 1, topK: 5 },
  "top-k 1": { temperature: 1, topK: 1 },
  "top-k, top-p and min-p": { temperature: 0.8, topK: 40, topP: 0.9, minP: 0.02 },
};
const OTHERS: Readonly<Record<string, GenerationOptions>> = {
  "top-p alone": { temperature: 1, topP: 0.9 },
  "all tokens": { temperature: 1 },
  penalties: { temperature: 0, repetitionPenalty: 1.3, presencePenalty: 0.2 },
  bias: { temperature: 0, logitBias: { 7: 3 } },
  "log-probabilities": { temperature: 0, logprobs: 2 },
};

test.each(Object.entries(OPTIONS))("%s: candidates give the choice that all logits give, ties included", (_, options) => {
  const random = seededRandom(8);
  const of = (seed: number) => new Sampler(generationSettings(options, bare), seededRandom(seed));
  for (let round = 0; round < 300; round++) {
    const levels = 2 + random.integer(12); // many ties
    const logits = Float32Array.from({ length: 100 }, () => random.integer(levels) / 2);
    const ids = largest(logits, 64);
    const candidates = { ids, logits: Float32Array.from(ids, (id) => logits[id]!) };
    expect(of(round).candidates).toBeLessThanOrEqual(64);
    expect(of(round).next(candidates)).toEqual(of(round).next(logits));
  }
});

test.each(Object.entries(OTHERS))("%s: needs all logits, and refuses candidates", (_, options) => {
  const sampler = new Sampler(generationSettings(options, bare), seededRandom(1));
  expect(sampler.candidates).toBeUndefined();
  expect(() => sampler.next({ ids: Uint32Array.of(3), logits: Float32Array.of(1) })).toThrow(/do not decide/);
});

/** The engine, with the most numbers that a run fetched since the last call of `most`. */
function counting(engine: Engine): { engine: Engine; most: () => number } {
  let most = 0;
  const load: Engine["load"] = async (graph, options) => {
    const session = await engine.load(graph, options);
    const counted: Session = Object.create(session);
    const runKeeping: Session["runKeeping"] = async (feeds, fetches) => {
      const results = await session.runKeeping(feeds, fetches);
      for (const { data } of Object.values(results.fetched)) most = Math.max(most, data.length);
      return results;
    };
    const own = { runKeeping, run: async (...args: Parameters<Session["run"]>) => (await runKeeping(...args)).fetched };
    const rest = { dispose: () => session.dispose(), inputs: session.inputs, outputs: session.outputs };
    return Object.assign(counted, own, rest);
  };
  const taken = () => {
    const last = most;
    most = 0;
    return last;
  };
  return { engine: { ...engine, load }, most: taken };
}

// A whole model takes long on a software GPU: there only npm run check:webgpu runs it.
const OF_MODELS = process.env.SKEIN_DEVICE === "webgpu" ? ENGINES : [keeping];

test.each(OF_MODELS)("on $name whole generations are those of the CPU, and few numbers are fetched", async (device) => {
  const { engine, most } = counting(device);
  await using base = await loadModel(golden("llama/model"), { engine });
  await using reference = await loadModel(golden("llama/model"), { engine: cpu });
  const prompts = [[5, 9, 12, 31], [7, 8], Array.from({ length: 150 }, (_, i) => 3 + (i % 40))];
  for (const options of [...Object.values(OPTIONS), ...Object.values(OTHERS)]) {
    const settings = { ...options, ignoreEos: true, maxNewTokens: 5, seed: 3, n: 2 };
    const got = await generateBatch(base.withWoven(randomPool(base)), prompts, settings);
    const expected = await generateBatch(reference.withWoven(randomPool(reference)), prompts, settings);
    expect(got.map(({ ids }) => ids)).toEqual(expected.map(({ ids }) => ids));
    const rows = prompts.length * settings.n;
    const { candidates } = new Sampler(generationSettings(settings, bare), seededRandom(1));
    // Whole logits are read by a session of the engine's own, which is not counted; others are fetched as few as they are.
    expect(most()).toBeLessThanOrEqual(candidates === undefined ? 0 : candidates === 1 ? rows : 64 * rows);
  }
});
