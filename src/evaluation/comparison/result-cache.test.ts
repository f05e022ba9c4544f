import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { byteTokenizer } from "../../../tests/byte-tokenizer.ts";
import { golden } from "../../../tests/golden.ts";
import { loadModel } from "../../library/model.ts";
import { single } from "../../methods/single.ts";
import { t5Experts } from "../../routing/experts.test-helper.ts";
import { parseFilterList } from "../tasks/filters.ts";
import { taskOf } from "../tasks/jsonl.ts";
import { evaluate } from "./evaluate.ts";
import type { EvaluationTask } from "./evaluation-task.ts";
import type { Method } from "./methods.ts";

const tokenizer = byteTokenizer(160);
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-result-cache-"));
});
afterAll(() => rm(folder, { recursive: true }));

const written: EvaluationTask = {
  ...taskOf("write", [{ input: "question?", target: "x" }]),
  metrics: ["exact_match"],
  generation: { until: ["\n"], maxTokens: 4 },
};

/** The metrics of a method's answers to `task`, and the number of new results in the cache. */
async function scored(cache: string, task: EvaluationTask, { base = golden("t5/model"), method = { kind: "base" } as Method } = {}) {
  await using model = await loadModel(base);
  const experts = (await t5Experts(model.base.modules)).slice(0, 2);
  const kept = async () => (await readdir(cache).catch(() => [])).length;
  const before = await kept();
  const { methods } = await evaluate({ model, tokenizer, experts, tasks: [task], methods: [method], cache });
  return { metrics: methods[0]!.tasks[task.name]!.metrics, computed: (await kept()) - before };
}

test("two filters of one name do not share a result", async () => {
  const cache = join(folder, "filters");
  const under = (pattern: string, fallback: string): EvaluationTask => {
    const filters = parseFilterList([{ name: "strict", filter: [{ function: "regex", regex_pattern: pattern, fallback }] }], "task.yaml");
    return { ...written, filters };
  };
  const of = async (pattern: string, fallback: string) =>
    (await scored(cache, under(pattern, fallback))).metrics["exact_match,strict"]!.value;
  expect(await of("never (there)", "[invalid]")).toBe(0);
  expect(await of("never (there)", "x")).toBe(1);
  expect(await of("never (there)", "[invalid]")).toBe(0);
  expect(await of("never (here)", "x")).toBe(1);
});

test("what exact_match ignores is part of a result", async () => {
  const cache = join(folder, "cleaners");
  const of = async (pattern: string) => {
    const task = { ...written, exactMatchFilters: [{ kind: "remove", pattern } as const] };
    return (await scored(cache, task)).metrics.exact_match!.value;
  };
  expect(await of("never there")).toBe(0);
  expect(await of("[^]*")).toBe(1);
});

test("another configuration of the same tensors, or another tokenizer, is another base", async () => {
  const cache = join(folder, "settings");
  const base = join(folder, "base");
  await cp(golden("t5/model"), base, { recursive: true });
  const change = async (name: string, more: object) => {
    const config = JSON.parse(await readFile(join(base, name), "utf8").catch(() => "{}"));
    await writeFile(join(base, name), JSON.stringify({ ...config, ...more }));
  };
  expect((await scored(cache, written, { base })).computed).toBe(1);
  expect((await scored(cache, written, { base })).computed).toBe(0);
  await change("config.json", { layer_norm_epsilon: 0.5 });
  expect((await scored(cache, written, { base })).computed).toBe(1);
  await change("tokenizer_config.json", { clean_up_tokenization_spaces: true });
  expect((await scored(cache, written, { base })).computed).toBe(1);
});

test("routers that differ only in what they score by do not share a result", async () => {
  const cache = join(folder, "routers");
  const under = (expert: string) => scored(cache, written, { method: { kind: "router", router: single({ expert }) } });
  expect((await under("e0")).computed).toBe(1);
  expect((await under("e0")).computed).toBe(0);
  expect((await under("e1")).computed).toBe(1);
});
