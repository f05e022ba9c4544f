/** @file `skein eval`: methods compared on tasks, in one table. */

import type { Command } from "commander";
import type { Expert } from "../../adapters/expert.ts";
import type { EvaluationProgress, EvaluationTask } from "../../evaluation/evaluate.ts";
import type { Method } from "../../evaluation/methods.ts";
import type { Model } from "../../inference/model.ts";
import type { DecisionRule } from "../../routing/moa-decision.ts";
import { list, subcommand, wholeNumber } from "../command.ts";
import { interruptible } from "../interrupt.ts";
import { type CommonFlags, type Io, show, warn } from "../io.ts";
import { progress } from "../progress.ts";

interface Flags extends CommonFlags {
  readonly base: string;
  readonly pool?: string;
  readonly adapter: readonly string[];
  readonly heldOut?: readonly string[];
  readonly benchmark?: string;
  readonly dataFolder: string;
  readonly methods?: readonly string[];
  readonly topK?: number;
  readonly batchSize?: number;
  readonly maxLength?: number;
  readonly cache?: string;
  readonly out?: string;
}

const READ_OFF = ["base", "experts", "merged", "best_individual", "oracle"] as const;
const isReadOff = (name: string): name is (typeof READ_OFF)[number] => READ_OFF.some((known) => known === name);

export function addEval(program: Command, io: Io): void {
  subcommand(program, "eval [tasks...]", {
    summary: "Compare the base, its experts, their merge, and routers on tasks, and print one table with standard errors.",
    example: "skein eval nouns.jsonl verbs.jsonl --held-out both.jsonl --base models/t5 --pool my-pool --out results",
  })
    .requiredOption("--base <dir>", "the base model: a folder or a Hugging Face id")
    .option("--pool <dir>", "a pool of experts")
    .option(
      "--adapter <dir>",
      "also evaluate one adapter, such as a multitask one (may be repeated)",
      (dir: string, all: string[]) => [...all, dir],
      [],
    )
    .option("--held-out <tasks...>", "tasks to average apart from the others; rows of {input, target, choices?}")
    .option("--benchmark <recipe>", "the tasks of a benchmark recipe, such as recipes/benchmarks/bbh.yaml")
    .option("--data-folder <dir>", "where a benchmark's data is", "data")
    .option(
      "--methods <names>",
      "base, experts, merged, best_individual, oracle, routers, moa, moa-last, moa-per-layer (default: the first five, and moa or phatgoose)",
      list,
    )
    .option("--top-k <k>", "experts per token of the routers", wholeNumber(1))
    .option("--batch-size <n>", "rows side by side (default: 32)", wholeNumber(1))
    .option("--max-length <n>", "longest sequence in tokens, for models without a limit of their own", wholeNumber(1))
    .option("--cache <dir>", "keep results here, so that an evaluation that was stopped goes on")
    .option("--out <dir>", "also write results.json, results.md and every answer to this folder")
    .action(async (files: readonly string[], flags: Flags) => {
      const { loadModel } = await import("../../inference/model.ts");
      const { evaluate } = await import("../../evaluation/evaluate.ts");
      const { resultsJson, saveResults } = await import("../../evaluation/results.ts");
      const { terminalTable } = await import("../../evaluation/tables.ts");
      const { loadTokenizer } = await import("../../text/tokenizer.ts");
      await using model = await loadModel(flags.base);
      const tokenizer = await loadTokenizer(model.checkpoint.directory);
      const tasks = await tasksOf(files, flags);
      const experts = await expertsOf(io, flags, model);
      const methods = [...(await methodsOf(flags, model, experts)), ...(await adaptersOf(io, flags, model))];
      const { batchSize, maxLength, cache } = flags;
      const options = { ...(batchSize && { batchSize }), ...(maxLength && { maxLength }), ...(cache && { cache }) };
      const evaluation = await interruptible(io, (signal) =>
        evaluate({ model, tokenizer, tasks, experts, methods, ...options, signal, onProgress: reporter(io, flags) }),
      );
      if (flags.out !== undefined) await saveResults(flags.out, evaluation);
      show(io, flags, resultsJson(evaluation), terminalTable(evaluation, { colours: io.colours }));
    });
}

async function tasksOf(files: readonly string[], { heldOut = [], benchmark, dataFolder }: Flags): Promise<EvaluationTask[]> {
  const { readJsonlTask } = await import("../../evaluation/tasks/jsonl.ts");
  const { loadBenchmark } = await import("../../evaluation/tasks/benchmark.ts");
  const tasks: EvaluationTask[] = benchmark === undefined ? [] : await loadBenchmark(benchmark, dataFolder);
  for (const file of files) tasks.push({ ...(await readJsonlTask(file)), ...(heldOut.length > 0 && { group: "held in" }) });
  for (const file of heldOut) tasks.push({ ...(await readJsonlTask(file)), group: "held out" });
  return tasks;
}

async function expertsOf(io: Io, flags: Flags, model: Model) {
  if (flags.pool === undefined) return [];
  const { openExperts } = await import("../../inference/open.ts");
  const experts = await openExperts(model, flags.pool);
  warn(
    io,
    flags,
    experts.flatMap(({ name, warnings }) => warnings.map((warning) => `${name}: ${warning}`)),
  );
  return experts;
}

async function methodsOf({ pool, methods, topK }: Flags, model: Model, experts: readonly Expert[]): Promise<Method[]> {
  const { DECISION_RULES } = await import("../../routing/moa-decision.ts");
  const { hasMoa } = await import("../../routing/moa-files.ts");
  const moa = pool !== undefined && (await hasMoa(pool)) ? ["moa"] : ["phatgoose"];
  const names = methods ?? (pool === undefined ? ["base"] : [...READ_OFF, ...moa]);
  return Promise.all(
    names.map(async (name) => {
      if (isReadOff(name)) return { kind: name };
      const rule = name === "moa" ? "vote" : DECISION_RULES.find((known) => name === `moa-${known}`);
      if (rule && pool !== undefined) return moaMethod(name, pool, model, experts, rule);
      return { kind: "router", router: name, ...(topK && { topK }) };
    }),
  );
}

async function moaMethod(name: string, pool: string, model: Model, experts: readonly Expert[], rule: DecisionRule): Promise<Method> {
  const { moaPoolHash, needMoaPool } = await import("../../inference/moa-pool.ts");
  const { MoaOverlay } = await import("../../inference/moa-overlay.ts");
  const { moa, experts: own } = await needMoaPool(pool, experts);
  const overlay = () => new MoaOverlay(model, moa, own, { rule });
  return { kind: "overlay", name, overlay, state: `${rule} ${await moaPoolHash(pool)}` };
}

async function adaptersOf(io: Io, flags: Flags, model: Model): Promise<Method[]> {
  const { loadAdapter } = await import("../../adapters/peft.ts");
  const { fingerprint } = await import("../../checkpoint/fingerprint.ts");
  const base = await fingerprint(model.checkpoint);
  const methods: Method[] = [];
  for (const name of flags.adapter) {
    const adapter = await loadAdapter(name, model.modules, { fingerprint: base });
    warn(io, flags, adapter.warnings);
    methods.push({ kind: "adapter", name, adapter });
  }
  return methods;
}

/** A bar over all pairs of method and task. */
function reporter(io: Io, flags: CommonFlags) {
  const bar = progress(io, flags, { label: "eval" });
  const start = performance.now();
  return ({ method, task, finished, total, done, examples }: EvaluationProgress) => {
    const share = finished + (finished < total ? done / Math.max(1, examples) : 0);
    const secondsLeft = ((total - share) * (performance.now() - start)) / 1000 / Math.max(share, 1e-3);
    bar.update({ step: finished, steps: total, secondsLeft, note: `${method}: ${task}` });
    if (finished === total) bar.done();
  };
}
