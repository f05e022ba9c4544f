import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { byteTokenizer } from "../../../tests/byte-tokenizer.ts";
import { golden } from "../../../tests/golden.ts";
import type { Expert } from "../../adapters/expert.ts";
import type { Prompts } from "../../inference/prompts.ts";
import { RoutedPool } from "../../inference/routed-pool.ts";
import { type LoadedModel, loadModel } from "../../library/model.ts";
import { uniform } from "../../methods/uniform.ts";
import { t5Experts } from "../../routing/experts.test-helper.ts";
import { oneExpertBias } from "../../routing/retrieval.ts";
import { mean } from "../metrics/bootstrap.ts";
import { taskOf } from "../tasks/jsonl.ts";
import { type EvaluationJob, evaluate } from "./evaluate.ts";

const tokenizer = byteTokenizer(160);
const letters = ["ab", "cde", "f", "gh ij"];
const examplesOf = (n: number) =>
  Array.from({ length: n }, (_, i) => ({ input: `question ${i % 7}${letters[i % 4]}?`, target: letters[(i * 3) % 4]! }));
const choiceTask = {
  ...taskOf(
    "choose",
    examplesOf(12).map((example) => ({ ...example, choices: letters })),
  ),
  group: "held-in",
};
const textTask = {
  ...taskOf("write", examplesOf(6)),
  metrics: ["exact_match", "rougeL", "bleu", "squad"],
  generation: { until: ["\n"], maxTokens: 6 },
  group: "held-out",
};
const documentTask = { ...taskOf("read", examplesOf(5)), metrics: ["token_perplexity"], group: "held-out" };

let model: LoadedModel;
let experts: Expert[];
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-evaluate-"));
  model = await loadModel(golden("t5/model"));
  experts = (await t5Experts(model.base.modules)).slice(0, 3);
});
afterAll(async () => {
  await model.dispose();
  await rm(folder, { recursive: true });
});

const job = (more: Partial<EvaluationJob> = {}): EvaluationJob => ({
  model,
  tokenizer,
  tasks: [choiceTask, textTask],
  experts,
  methods: [
    { kind: "base" },
    { kind: "experts" },
    { kind: "merged" },
    { kind: "best_individual" },
    { kind: "oracle" },
    { kind: "router", router: "phatgoose" },
  ],
  ...more,
});

test("best individual and oracle are the best the single experts allow", async () => {
  const { methods } = await evaluate(job());
  const rows = new Map(methods.map((method) => [method.name, method]));
  expect([...rows.keys()]).toEqual(["base", "expert e0", "expert e1", "expert e2", "merged", "best individual", "oracle", "phatgoose"]);
  const single = methods.filter(({ kind }) => kind === "experts");
  for (const task of ["choose", "write"]) {
    expect(rows.get("oracle")!.tasks[task]!.score.value).toBe(Math.max(...single.map(({ tasks }) => tasks[task]!.score.value)));
    // With one task per group, the best individual of the group equals its oracle.
    expect(rows.get("best individual")!.tasks[task]).toEqual(rows.get("oracle")!.tasks[task]);
  }
  for (const { tasks, means } of methods) {
    expect(means.map(({ group }) => group)).toEqual([undefined, "held-in", "held-out"]);
    expect(means[0]!.value).toBeCloseTo(mean(Object.values(tasks).map(({ score }) => score.value)), 12);
  }
});

test("a pool of one expert, routed, answers as that expert alone, and both as the merge of one", async () => {
  const alone = experts.slice(0, 1);
  const { methods } = await evaluate(
    job({ experts: alone, methods: [{ kind: "experts" }, { kind: "router", router: "phatgoose" }, { kind: "merged" }] }),
  );
  const [single, routed, merged] = methods.map(({ tasks }) => tasks.choose!.outcomes.flatMap(({ choices }) => choices ?? []));
  single!.forEach(({ sum }, i) => {
    expect(Math.abs(routed![i]!.sum - sum)).toBeLessThan(1e-4);
    expect(Math.abs(merged![i]!.sum - sum)).toBeLessThan(1e-4);
  });
});

test("perplexity is exp of the mean loss, and its task has no part in a mean of shares", async () => {
  const { methods } = await evaluate(job({ tasks: [choiceTask, documentTask], methods: [{ kind: "base" }] }));
  const { score, outcomes, lowerIsBetter } = methods[0]!.tasks.read!;
  const loss = outcomes.reduce((sum, { target }) => sum - target!.sum, 0) / outcomes.reduce((sum, { target }) => sum + target!.tokens, 0);
  expect(score.value).toBeCloseTo(Math.exp(loss), 6);
  expect(lowerIsBetter).toBe(true);
  expect(methods[0]!.means[0]).toEqual({ ...methods[0]!.tasks.choose!.score, n: undefined, tasks: 1 });
});

test("an input's own expert, chosen from outside, gives that expert's answers", async () => {
  const choose = async (inputs: readonly string[]) => inputs.map((_, i) => i % 3);
  const { methods } = await evaluate(
    job({ tasks: [choiceTask], methods: [{ kind: "experts" }, { kind: "per_query", name: "thirds", choose }] }),
  );
  const picked = methods[3]!.tasks.choose!.outcomes;
  picked.forEach((outcome, i) => {
    expect(outcome).toEqual(methods[i % 3]!.tasks.choose!.outcomes[i]);
  });
});

test("rows that choose an expert for themselves answer as it does", async () => {
  const rows = async ({ inputIds }: Prompts) => oneExpertBias(Array<number>(inputIds.shape[0]!).fill(1), 3);
  const woven = () => new RoutedPool(experts, model.base.modules, { router: uniform({ topK: 1 }), rows });
  const { methods } = await evaluate(job({ methods: [{ kind: "experts" }, { kind: "overlay", name: "second", woven, state: "second" }] }));
  const [expected, found] = [methods[1]!, methods[3]!];
  expect(expected.name).toBe("expert e1");
  expect(found.tasks.write!.outcomes.map(({ text }) => text)).toEqual(expected.tasks.write!.outcomes.map(({ text }) => text));
  const sums = (of: typeof found) => of.tasks.choose!.outcomes.flatMap(({ choices }) => choices!.map(({ sum }) => sum));
  sums(found).forEach((sum, i) => {
    expect(Math.abs(sum - sums(expected)[i]!)).toBeLessThan(1e-4);
  });
});

test("parameters averaged over whole rows do not depend on the batch", async () => {
  const of = async (batchSize: number) => {
    const { methods } = await evaluate(job({ batchSize, methods: [{ kind: "router", router: "smear" }] }));
    const { choose, write } = methods[0]!.tasks;
    return {
      sums: choose!.outcomes.flatMap(({ choices }) => choices!.map(({ sum }) => sum)),
      texts: write!.outcomes.map(({ text }) => text),
    };
  };
  const [one, many] = [await of(1), await of(32)];
  expect(many.texts).toEqual(one.texts);
  many.sums.forEach((sum, i) => {
    expect(Math.abs(sum - one.sums[i]!)).toBeLessThan(1e-4);
  });
});

test("stopped half-way, it goes on from its cache and ends with the same results", async () => {
  const whole = await evaluate(job());
  const cache = join(folder, "cache");
  const controller = new AbortController();
  const stopping = evaluate(job({ cache, signal: controller.signal, onProgress: ({ finished }) => finished >= 5 && controller.abort() }));
  await expect(stopping).rejects.toThrow(/Stopped after \d+ of 12 evaluations/);
  const kept = (await readdir(cache)).length;
  expect(kept).toBeGreaterThanOrEqual(5);
  const computed: string[] = [];
  const resumed = await evaluate(
    job({ cache, onProgress: ({ method, task, done, examples }) => done < examples && computed.push(`${method} ${task}`) }),
  );
  expect(new Set(computed).size).toBeLessThanOrEqual(12 - kept);
  expect(JSON.parse(JSON.stringify(resumed.methods))).toEqual(JSON.parse(JSON.stringify(whole.methods)));
  expect(await readdir(cache)).toHaveLength(12);
});

test("mistakes are told before anything runs", async () => {
  await expect(evaluate(job({ tasks: [choiceTask, choiceTask] }))).rejects.toMatchObject({ name: "OptionError" });
  await expect(evaluate(job({ experts: [], methods: [{ kind: "merged" }] }))).rejects.toThrow(/needs experts/);
  await expect(evaluate(job({ tasks: [{ ...choiceTask, metrics: ["acuracy"] }], methods: [{ kind: "base" }] }))).rejects.toThrow(
    /no metric/,
  );
  await expect(evaluate(job({ methods: [{ kind: "base" }, { kind: "base" }] }))).rejects.toThrow(/Two methods/);
});

test("LoraHub needs labeled examples, learns from a task's own, and another task's change nothing", async () => {
  const shots = examplesOf(9).slice(6);
  const methods = [{ kind: "lorahub" as const, evaluations: 4 }];
  await expect(evaluate(job({ methods }))).rejects.toMatchObject({ name: "OptionError", what: expect.stringContaining("choose") });
  const of = async (other: typeof shots) => {
    const tasks = [
      { ...choiceTask, shots },
      { ...textTask, shots: other },
    ];
    const { methods: rows } = await evaluate(job({ methods, tasks }));
    return rows[0]!.tasks.choose!.outcomes.flatMap(({ choices }) => choices!.map(({ sum }) => sum));
  };
  const learned = await of(shots);
  expect(await of(examplesOf(2))).toEqual(learned);
  const base = (await evaluate(job({ methods: [{ kind: "base" }], tasks: [choiceTask] }))).methods[0]!;
  expect(learned).not.toEqual(base.tasks.choose!.outcomes.flatMap(({ choices }) => choices!.map(({ sum }) => sum)));
});
