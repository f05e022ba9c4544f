/** @file Whatever is generated beside a request, before it and after it, the request gives what it gives alone. */

import { expect, test } from "vitest";
import { golden } from "../../tests/golden.ts";
import { type Random, seededRandom, shuffled } from "../base/random.ts";
import { baseRiding, expertRiding } from "../inference/riding.ts";
import { RoutedPool } from "../inference/routed-pool.ts";
import { openRows } from "../inference/row-choices.ts";
import { plain, singleAdapter, type Woven } from "../inference/woven.ts";
import { type LoadedModel, loadModel } from "../library/model.ts";
import { phatgoose } from "../methods/phatgoose.ts";
import { smear } from "../methods/smear.ts";
import { loadTokenizer } from "../text/load-tokenizer.ts";
import { alone, type Outcome, submitted, type TestJob } from "./jobs.test-helper.ts";
import type { GenerationOptions } from "./options.ts";
import { Scheduler } from "./scheduler.ts";
import { randomAdapter, randomExperts, randomPool } from "./woven.test-helper.ts";

// Two float32 computations of the same sums in another order; log-probabilities are of size 5.
const TOLERANCE = 1e-4;
const tokenizer = await loadTokenizer(golden("tokenizers/tinystories"));
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

function randomOptions(random: Random, vocabulary: number): GenerationOptions {
  const isGreedy = random.next() < 0.4;
  return {
    maxNewTokens: 1 + random.integer(24),
    n: 1 + random.integer(3),
    seed: random.integer(1000),
    temperature: isGreedy ? 0 : 0.5 + random.next(),
    ...(random.next() < 0.3 && { topK: 5 }),
    ...(random.next() < 0.3 && { topP: 0.8 }),
    ...(random.next() < 0.3 && { repetitionPenalty: 1.2, presencePenalty: 0.5 }),
    ...(random.next() < 0.3 && { stopIds: [0, 1, 2].map(() => random.integer(vocabulary)) }),
    ...(random.next() < 0.3 && { stop: ["e", "ab", String.fromCharCode(97 + random.integer(26))] }),
    ...(random.next() < 0.3 && { routes: true }),
  };
}

function expectSame(actual: readonly Outcome[], expected: readonly Outcome[], what: string): void {
  expect(actual.length).toBe(expected.length);
  for (const [i, { logprobs, cachedTokens: _, ...outcome }] of actual.entries()) {
    const { logprobs: wanted, cachedTokens: __, ...other } = expected[i]!;
    expect(outcome, what).toEqual(other);
    for (const [t, logprob] of logprobs.entries()) expect(Math.abs(logprob - wanted[t]!), what).toBeLessThan(TOLERANCE);
  }
}

async function wovenOf(model: LoadedModel): Promise<Woven[]> {
  const adapters = [3, 4].map((seed) => singleAdapter(randomAdapter(model, seededRandom(seed)), model.base.modules));
  const experts = randomExperts(model, 5);
  const shared = new RoutedPool(experts, model.base.modules, { router: phatgoose(), rows: openRows });
  const riding = experts.slice(0, 2).map((expert) => expertRiding(shared, expert, singleAdapter(expert.adapter, model.base.modules))!);
  return [plain, ...adapters, randomPool(model, { router: smear() }), shared, shared, baseRiding(shared), ...riding];
}

/** Jobs whose prompts often begin alike. */
function randomJobs(model: LoadedModel, wovens: readonly Woven[], random: Random, count: number): TestJob[] {
  const sentence = (length: number) => Array.from({ length }, () => 3 + random.integer(61));
  const beginnings = [sentence(40), sentence(12), []];
  return Array.from({ length: count }, () => {
    const prompt = [...beginnings[random.integer(3)]!, ...sentence(1 + random.integer(random.next() < 0.2 ? 90 : 12))];
    return {
      model,
      woven: wovens[random.integer(wovens.length)]!,
      prompt,
      options: randomOptions(random, model.base.architecture.vocabularySize),
      tokenizer,
    };
  });
}

test.each(["llama/model", "decoders/gemma3_text", "qwen/model", "t5/model"])(
  "%s: requests of every kind that come and go at any time, give what each gives alone",
  async (name) => {
    await using model = await loadModel(golden(name));
    const wovens = await wovenOf(model);
    // Few rows, little memory and short chunks, so that requests wait, make room and are read in pieces.
    const tight = { rows: 7, cacheBytes: 200_000, chunk: 8 };
    for (const seed of name === "llama/model" ? [1, 2] : [1]) {
      const random = seededRandom(seed);
      const jobs = randomJobs(model, wovens, random, 20);
      const expected: Outcome[][] = [];
      for (const job of jobs)
        expected.push(await alone({ ...job, woven: job.woven.alone ?? job.woven }, seed === 1 ? tight.chunk : undefined));
      const scheduler = new Scheduler(seed === 1 ? tight : { keptBytes: 1_000_000 });
      const order = shuffled([...jobs.keys()], random);
      const running: Promise<void>[] = [];
      for (const i of order) {
        const stop = random.next() < 0.2 ? 1 + random.integer(5) : undefined;
        running.push(stop === undefined ? beside(scheduler, jobs[i]!, expected[i]!) : canceled(scheduler, jobs[i]!, expected[i]!, stop));
        for (let wait = random.integer(12); wait > 0; wait--) await turn();
      }
      await Promise.all(running);
      if (seed === 1) expect(scheduler.state.preemptions).toBeGreaterThan(0);
      await turn();
      expect(scheduler.state).toMatchObject({ running: 0, waiting: 0, cacheBytes: 0 });
    }
  },
);

async function beside(scheduler: Scheduler, job: TestJob, expected: readonly Outcome[]): Promise<void> {
  const actual = await submitted(scheduler, job);
  expectSame(actual, expected, JSON.stringify(job.options));
}

/** Cancels a job after some tokens; those it gave are the first of what it would have given. */
async function canceled(scheduler: Scheduler, job: TestJob, expected: readonly Outcome[], after: number): Promise<void> {
  const controller = new AbortController();
  const seen = new Map<number, number[]>();
  let count = 0;
  const onToken: TestJob["onToken"] = ({ sequence, choice }) => {
    seen.set(sequence.index, [...(seen.get(sequence.index) ?? []), choice.id]);
    if (++count === after) controller.abort(new Error("enough"));
  };
  const total = expected.reduce((sum, { logprobs }) => sum + logprobs.length, 0);
  const run = submitted(scheduler, { ...job, signal: controller.signal, onToken });
  if (total < after) await run;
  else await expect(run).rejects.toMatchObject({ code: "stopped", cause: { message: "enough" } });
  expect(count).toBe(Math.min(after, total));
  for (const [index, ids] of seen) expect(ids.slice(0, expected[index]!.ids.length)).toEqual(expected[index]!.ids.slice(0, ids.length));
}

test("experts join and leave while generations run; each ends as it would have", async () => {
  await using model = await loadModel(golden("llama/model"));
  const experts = randomExperts(model, 8);
  const pools = [8, 7, 5, 6].map((count) => new RoutedPool(experts.slice(0, count), model.base.modules, { router: phatgoose() }));
  const random = seededRandom(9);
  const jobs = Array.from({ length: 8 }, (_, i): TestJob => {
    const prompt = Array.from({ length: 5 + random.integer(20) }, () => 3 + random.integer(61));
    return { model, woven: pools[i % 4]!, prompt, options: { maxNewTokens: 40, temperature: i % 2, seed: i, routes: i > 3 } };
  });
  const expected: Outcome[][] = [];
  for (const job of jobs) expected.push(await alone(job));
  const scheduler = new Scheduler();
  const running: Promise<Outcome[]>[] = [];
  for (const job of jobs) {
    running.push(submitted(scheduler, job));
    for (let wait = 0; wait < 6; wait++) await turn();
  }
  const actual = await Promise.all(running);
  for (const [i, outcome] of actual.entries()) expectSame(outcome, expected[i]!, `generation ${i}`);
});
