import { expect, test } from "vitest";
import { golden } from "../../tests/golden.ts";
import { seededRandom } from "../base/random.ts";
import { plain, singleAdapter, type Woven } from "../inference/woven.ts";
import { type LoadedModel, loadModel } from "../library/model.ts";
import { Decoder } from "./decoder.ts";
import { alone, type Outcome, submitted, type TestJob } from "./jobs.test-helper.ts";
import { Pace } from "./pace.ts";
import { Scheduler } from "./scheduler.ts";
import { randomAdapter } from "./woven.test-helper.ts";

const sentence = (length: number, seed = 1): number[] => {
  const random = seededRandom(seed);
  return Array.from({ length }, () => 3 + random.integer(61));
};
const idsOf = (outcomes: readonly Outcome[]) => outcomes.map(({ ids }) => ids);
const jobOf = (model: LoadedModel, prompt: readonly number[], maxNewTokens: number, more: Partial<TestJob> = {}): TestJob => ({
  model,
  woven: plain,
  prompt,
  options: { maxNewTokens, temperature: 0 },
  ...more,
});

test("a long prompt is read in pieces, between which others go on", async () => {
  await using model = await loadModel(golden("llama/model"));
  const decoder = await Decoder.open(model);
  const running = decoder.admit(sentence(4));
  await decoder.step();
  const long = decoder.admit(sentence(100, 2));
  for (let read = 16; read < 100; read += 16) {
    decoder.push(running, 5);
    expect(await decoder.decode()).toEqual([running]);
    expect(await decoder.read(16)).toEqual([]);
    expect(long.tokens.length).toBe(read);
  }
  expect(await decoder.read(16)).toEqual([long]);
  decoder.close();

  const scheduler = new Scheduler();
  let between = 0;
  let isFirst = true;
  const short = submitted(scheduler, jobOf(model, sentence(4), 60, { onToken: () => between++ }));
  while (between === 0) await new Promise(setImmediate);
  const before = between;
  const onToken = () => {
    if (isFirst) between -= before;
    isFirst = false;
  };
  await Promise.all([short, submitted(scheduler, jobOf(model, sentence(300, 3), 2, { onToken }))]);
  expect(between).toBeGreaterThan(1); // the prompt was read in more pieces than one
});

test("the pace of reading follows the time that steps take", () => {
  const pace = new Pace();
  expect(pace.tokens).toBe(16);
  pace.stepped(10);
  for (const [ms, expected] of [
    [5, 32],
    [5, 64],
    [15, 64],
    [25, 32],
    [25, 16],
    [25, 16],
  ] as const) {
    pace.read(pace.tokens, ms);
    expect(pace.tokens).toBe(expected);
  }
  pace.read(3, 1);
  expect(pace.tokens).toBe(16);
});

test("what two prompts begin with is read once: at the same time, one after the other, and of a turn before", async () => {
  await using model = await loadModel(golden("llama/model"));
  const scheduler = new Scheduler();
  const system = sentence(80);
  const prompts = [5, 6, 7].map((seed) => [...system, ...sentence(4, seed)]);
  const [first, ...rest] = await Promise.all(prompts.map((prompt) => submitted(scheduler, jobOf(model, prompt, 4))));
  expect(first![0]!.cachedTokens).toBe(0);
  expect(rest.map(([outcome]) => outcome!.cachedTokens)).toEqual([80, 80]);
  const [later] = await submitted(scheduler, jobOf(model, [...system, ...sentence(9, 8)], 4));
  expect(later!.cachedTokens).toBe(80);
  const turn = [...prompts[1]!, ...rest[0]![0]!.ids, ...sentence(5, 9)];
  const [next] = await submitted(scheduler, jobOf(model, turn, 4));
  expect(next!.cachedTokens).toBe(prompts[1]!.length + 3); // the last token was never read
  expect(idsOf([next!])).toEqual(idsOf(await alone(jobOf(model, turn, 4))));
  const other = singleAdapter(randomAdapter(model, seededRandom(3)), model.base.modules);
  const [adapted] = await submitted(scheduler, jobOf(model, turn, 4, { woven: other }));
  expect(adapted!.cachedTokens).toBe(0);
});

test("routes are those of the whole text, though its beginning was read for another", async () => {
  await using model = await loadModel(golden("llama/model"));
  const { randomPool } = await import("./woven.test-helper.ts");
  const woven: Woven = randomPool(model);
  const scheduler = new Scheduler();
  const options = { maxNewTokens: 4, temperature: 0, routes: true };
  const prompt = sentence(30);
  const counts: number[] = [];
  const onToken: TestJob["onToken"] = ({ sequence: { routes } }) => {
    if (routes) counts.push(routes.get("model.layers.0.self_attn.q_proj")!.experts.shape[1]!);
  };
  await submitted(scheduler, { model, woven, prompt, options: { ...options, routes: false } });
  for (const cached of [0, 29]) {
    const [outcome] = await submitted(scheduler, { model, woven, prompt, options, onToken });
    expect(outcome!.cachedTokens).toBe(cached);
  }
  expect(counts).toEqual([33, 33]);
});

test("memory is bounded: the newest make room, are read again, and end as they would have", async () => {
  await using model = await loadModel(golden("llama/model"));
  const jobs = [1, 2, 3, 4].map((seed) => jobOf(model, sentence(50, seed), 40));
  const expected: number[][] = [];
  for (const job of jobs) expected.push(...(idsOf(await alone(job)) as number[][]));
  const decoder = await Decoder.open(model);
  const limit = 4 * decoder.bytesWith(64); // four rows of 64 tokens, or two of 128
  decoder.close();
  const scheduler = new Scheduler({ cacheBytes: limit, keptBytes: 0 });
  let most = 0;
  const onToken = () => {
    most = Math.max(most, scheduler.state.cacheBytes);
  };
  const outcomes = await Promise.all(jobs.map((job) => submitted(scheduler, { ...job, onToken })));
  expect(outcomes.flatMap(idsOf)).toEqual(expected);
  expect(scheduler.state.preemptions).toBeGreaterThan(0);
  expect(most).toBeLessThanOrEqual(limit);
});

test("places go round: a client with many requests does not keep another waiting", async () => {
  await using model = await loadModel(golden("llama/model"));
  const scheduler = new Scheduler({ rows: 2 });
  const ended: string[] = [];
  const request = (name: string, client: string, prompt: number) =>
    submitted(scheduler, jobOf(model, [prompt], 10, { client })).then(() => ended.push(name));
  const many = [3, 4, 5, 6, 7, 8].map((prompt, i) => request(`many ${i}`, "a", prompt));
  await Promise.all([...many, request("one", "b", 9), request("other", "b", 10)]);
  expect(ended.indexOf("one")).toBeLessThanOrEqual(3);
  expect(ended.filter((name) => name.startsWith("many"))).toEqual(many.map((_, i) => `many ${i}`));
});

test("an error ends the request it belongs to and no other", async () => {
  await using model = await loadModel(golden("llama/model"));
  const scheduler = new Scheduler();
  const broken: Woven = {
    ...plain,
    key: "broken",
    batch: "broken",
    weave: () => {
      throw new Error("cannot be woven");
    },
  };
  const refusing: Woven = {
    ...plain,
    key: "refusing",
    batch: "refusing",
    chooseRows: async () => {
      throw new Error("no choice");
    },
  };
  const job = jobOf(model, sentence(6), 12);
  const throws = () => {
    throw new Error("the reader fails");
  };
  const results = await Promise.allSettled([
    submitted(scheduler, job),
    submitted(scheduler, { ...job, woven: broken }),
    submitted(scheduler, { ...job, woven: refusing }),
    submitted(scheduler, { ...job, onToken: throws }),
  ]);
  const said = results.map((result) => (result.status === "rejected" ? (result.reason as Error).message : "done"));
  expect(said).toEqual(["done", "cannot be woven", "no choice", "the reader fails"]);
  expect(idsOf(await submitted(scheduler, job))).toEqual(idsOf(await alone(job)));
});

test("a request that is canceled while it waits or runs leaves at once", async () => {
  await using model = await loadModel(golden("llama/model"));
  const scheduler = new Scheduler({ rows: 1 });
  const [first, second] = [new AbortController(), new AbortController()];
  let hasBegun = () => {};
  const begun = new Promise<void>((resolve) => {
    hasBegun = resolve;
  });
  const running = submitted(scheduler, jobOf(model, sentence(4), 5000, { signal: first.signal, onToken: () => hasBegun() }));
  await begun;
  const waiting = submitted(scheduler, jobOf(model, sentence(5), 5, { signal: second.signal }));
  second.abort(new Error("gone"));
  await expect(waiting).rejects.toMatchObject({ code: "stopped", cause: { message: "gone" } });
  expect(scheduler.state.waiting).toBe(0);
  const next = submitted(scheduler, jobOf(model, sentence(6), 3));
  first.abort(new Error("away"));
  await expect(running).rejects.toMatchObject({ code: "stopped", cause: { message: "away" } });
  expect((await next)[0]!.ids).toHaveLength(3);
});
