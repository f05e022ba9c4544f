/** @file `skein eval`: compares methods on tasks, in one table and one page. */

import { join } from "node:path";
import type { Command } from "commander";
import * as z from "zod";
import type { Expert } from "../../adapters/expert.ts";
import type { Chart } from "../../evaluation/comparison/chart.ts";
import type { Evaluation, EvaluationJob, EvaluationProgress } from "../../evaluation/comparison/evaluate.ts";
import { evaluationOptions } from "../../evaluation/comparison/evaluation-options.ts";
import type { EvaluationTask } from "../../evaluation/comparison/evaluation-task.ts";
import type { RouteUsage } from "../../evaluation/scoring/route-usage.ts";
import type { Model } from "../../inference/model.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import { baseOptions } from "../base-model.ts";
import { subcommand } from "../command.ts";
import { baseModel, checkedDate, date, dateOf } from "../common-options.ts";
import { adaptersOf, type MethodFlags, methodsOf, namesOf } from "../eval-methods.ts";
import { interruptible } from "../interrupt.ts";
import { type CommonFlags, type Io, show, warn } from "../io.ts";
import { downloadProgress, progress } from "../progress.ts";
import { list, optionsFrom, withOptions } from "../schema-options.ts";

const taskFlags = z.strictObject({
  tasks: z.array(z.string()).optional().meta({
    description: "More tasks: files, folders, YAML of lm-evaluation-harness, recipes such as recipes/benchmarks/bbh.yaml.",
    value: "tasks",
    variadic: true,
  }),
  heldOut: z.array(z.string()).optional().meta({ description: "Tasks that get a separate average.", value: "tasks", variadic: true }),
  benchmark: z.string().optional().meta({ description: "The tasks of a benchmark recipe.", value: "recipe" }),
  data: z.string().optional().meta({
    description: "A folder or Hugging Face cache with the datasets that YAML files name. Other datasets are downloaded from the Hub.",
    value: "dir",
    unset: "data",
  }),
  date,
  limit: z.int().min(1).optional().meta({ description: "The number of first examples of each task to use." }),
  shots: z.int().min(1).optional().meta({
    description: "The number of first examples of each task that lorahub learns from. They are not evaluated.",
    unset: "5 with lorahub",
  }),
});
const sizes = (description: string) => z.array(z.int().min(1)).optional().meta({ description, value: "numbers" });
const methodFlags = z.strictObject({
  pool: z.string().optional().meta({ description: "A pool of experts: a folder, or org/name on the Hub.", value: "dir" }),
  routers: z.array(z.string()).optional().meta({
    description: "Routers of the pool, with options as in arrow:temperature=1; several with commas.",
    value: "names",
  }),
  methods: z.array(z.string()).optional().meta({
    description:
      "Methods to compare: base, experts, merged, best_individual, oracle, lorahub, moa (its vote), moa-last, moa-per-layer, or a router's name.",
    value: "names",
    unset: "the first five, and --routers, moa or phatgoose",
  }),
  adapter: z.array(z.string()).default([]).meta({
    description: "Also evaluate one adapter, such as a multitask one (may be repeated).",
    value: "dir",
    repeat: true,
  }),
  topK: z.int().min(1).optional().meta({ description: "Experts per token of the routers.", value: "k" }),
  sweepK: sizes("Also evaluate every router with these numbers of experts per token: 1,2,3,5."),
  sweepPool: sizes("Also evaluate every router, the merge and lorahub with the pool's first 4,8,12 experts, and with all."),
});
const resultFlags = z.strictObject({
  out: z.string().optional().meta({
    description: "Also write results.json, results.md, and lm-evaluation-harness's results and samples of each method.",
    value: "dir",
  }),
  report: z.string().optional().meta({
    description: "Also write a page: tables, expert use by task and layer, entropy, agreement with the oracle, sweeps.",
    value: "file",
  }),
});
const baseFlag = z.strictObject(baseModel);
type Flags = MethodFlags &
  z.input<typeof baseFlag> &
  z.input<typeof taskFlags> &
  z.input<typeof methodFlags> &
  z.input<typeof evaluationOptions> &
  z.input<typeof resultFlags>;

const USUAL_SHOTS = 5; // as in the LoraHub paper

export function addEval(program: Command, io: Io, summary: string): void {
  const command = subcommand(program, "eval [tasks...]", {
    summary,
    example:
      "skein eval nouns.jsonl verbs.jsonl --base models/t5 --pool my-pool --routers phatgoose,arrow --out results --report report.html",
  });
  withOptions(command, baseFlag);
  withOptions(command, taskFlags, { group: "Tasks:", parsers: { date: checkedDate } });
  withOptions(command, methodFlags, { group: "Methods:", parsers: { routers: routerList, methods: routerList } });
  withOptions(command, evaluationOptions, { group: "Running:", unset: { cache: "with --out, its folder cache" } });
  withOptions(command, resultFlags, { group: "Results:" }).action((files: readonly string[], flags: Flags) => run(io, files, flags));
}

async function run(io: Io, files: readonly string[], given: Flags): Promise<void> {
  const { loadModel } = await import("../../library/model.ts");
  const { evaluate } = await import("../../evaluation/comparison/evaluate.ts");
  const { resultsJson, saveResults } = await import("../../evaluation/comparison/results.ts");
  const { terminalTable } = await import("../../evaluation/comparison/tables.ts");
  const { resolvePool } = await import("../../hub/resolve-pool.ts");
  const pool = given.pool === undefined ? {} : { pool: await resolvePool(given.pool, { onProgress: downloadProgress(io, given) }) };
  const flags = { ...given, ...pool };
  await checkPlaces(flags);
  const names = await namesOf(flags);
  await using model = await loadModel(flags.base, { ...baseOptions(io, flags), onWarning: (warning) => warn(io, flags, [warning]) });
  const tokenizer = await model.base.tokenizer();
  const tasks = withShots(await tasksOf(io, files, flags, tokenizer), flags.shots ?? (names.includes("lorahub") ? USUAL_SHOTS : 0));
  const experts = await expertsOf(io, flags, model);
  const methods = [...(await methodsOf(flags, names)), ...(await adaptersOf(io, flags, model))];
  const { readMoa } = await import("../../storage/moa.ts");
  const moa = async () => (flags.pool === undefined ? undefined : await readMoa(flags.pool));
  const { checkPoolSizes } = await import("../../evaluation/comparison/sweeps.ts");
  checkPoolSizes(flags.sweepPool ?? [], experts.length);
  const { out, report } = flags;
  const cache = flags.cache ?? (out === undefined ? undefined : join(out, "cache"));
  const options = { ...optionsFrom(evaluationOptions, flags), ...(cache && { cache }) };
  const { evaluation, sweeps } = await interruptible(io, async (signal) => {
    const job: EvaluationJob = {
      model,
      tokenizer,
      tasks,
      experts,
      moa,
      methods,
      ...options,
      signal,
      onProgress: reporter(io, flags, "eval"),
    };
    return { evaluation: await evaluate(job), sweeps: await sweepsOf(io, job, flags) };
  });
  const usage = report === undefined ? [] : await usageOf(model, tokenizer, evaluation, experts, flags);
  if (out !== undefined) await saveResults(out, evaluation, { sweeps, usage });
  if (report !== undefined) {
    const { writeReport } = await import("../../evaluation/report/report.ts");
    await writeReport(report, { title: "Skein: evaluation", evaluation, sweeps, usage });
  }
  const json = { ...resultsJson(evaluation), ...(sweeps.length > 0 && { sweeps }) };
  show(io, flags, json, terminalTable(evaluation, { colors: io.colors }));
}

/** Throws for outputs that could not be written at the end. */
async function checkPlaces({ out, cache, report }: Flags): Promise<void> {
  const { checkFile, checkFolder } = await import("../../checkpoint/atomic.ts");
  for (const folder of [out, cache]) if (folder !== undefined) await checkFolder(folder);
  if (report !== undefined) await checkFile(report);
}

/** All tasks of the command; without --held-out there are no groups. */
async function tasksOf(io: Io, files: readonly string[], flags: Flags, tokenizer: Tokenizer): Promise<EvaluationTask[]> {
  const { readTasks } = await import("../../evaluation/tasks/read-task.ts");
  const { heldOut = [], benchmark, limit } = flags;
  const { hubDatasets } = await import("../../evaluation/tasks/hub-data.ts");
  const elsewhere = hubDatasets({ onProgress: downloadProgress(io, flags) });
  const onWarning = (message: string) => warn(io, flags, [message]);
  const options = { tokenizer, onWarning, date: dateOf(flags.date), dataFolder: flags.data, elsewhere };
  const read = async (paths: readonly string[], group?: string) => {
    const all = await Promise.all(paths.map((path) => readTasks(path, options)));
    return all.flat().map((task) => ({ ...task, examples: task.examples.slice(0, limit), ...(group && { group }) }));
  };
  const own = await read(
    [...(benchmark === undefined ? [] : [benchmark]), ...files, ...(flags.tasks ?? [])],
    heldOut.length > 0 ? "held in" : undefined,
  );
  return [...own, ...(await read(heldOut, "held out"))];
}

/** Sets the first examples of each task aside. No method is evaluated on them. */
function withShots(tasks: readonly EvaluationTask[], shots: number): readonly EvaluationTask[] {
  if (shots === 0) return tasks;
  return tasks.map((task) => ({ ...task, examples: task.examples.slice(shots), shots: task.examples.slice(0, shots) }));
}

async function expertsOf(io: Io, flags: Flags, model: Model) {
  if (flags.pool === undefined) return [];
  const { openExperts } = await import("../../inference/open.ts");
  const experts = await openExperts(model, flags.pool);
  const warnings = experts.flatMap((expert) => expert.warnings.map((warning) => `${expert.name}: ${warning}`));
  warn(io, flags, warnings);
  return experts;
}

/** The requested sweeps, on the held-out tasks if there are any. */
async function sweepsOf(io: Io, job: EvaluationJob, flags: Flags): Promise<Chart[]> {
  const { sweepK: ks, sweepPool: sizes } = flags;
  const { sweepK, sweepPool } = await import("../../evaluation/comparison/sweeps.ts");
  const heldOut = job.tasks.filter(({ group }) => group === "held out");
  const own = { ...job, tasks: heldOut.length > 0 ? heldOut : job.tasks };
  const shown = (label: string) => ({ ...own, onProgress: reporter(io, flags, label) });
  const charts = [ks && (await sweepK(shown("sweep of k"), ks)), sizes && (await sweepPool(shown("sweep of pools"), sizes))];
  return charts.filter((chart) => chart !== undefined);
}

/** Expert use under each router that chooses token by token. */
async function usageOf(
  model: Model,
  tokenizer: Tokenizer,
  { tasks }: Evaluation,
  experts: readonly Expert[],
  flags: Flags,
): Promise<RouteUsage[]> {
  const { METHOD_NAMES, openMethod, parsedMethod, scoresTokens } = await import("../../methods/registry.ts");
  const { withWoven } = await import("../../inference/model.ts");
  const { routeUsage } = await import("../../evaluation/scoring/route-usage.ts");
  const routers = (await namesOf(flags)).filter((name) => METHOD_NAMES.includes(name.split(":")[0]!));
  const isText = tasks.every(({ kind }) => kind === "loglikelihood_rolling");
  if (experts.length === 0 || isText) return [];
  const used: RouteUsage[] = [];
  for (const router of routers.filter(scoresTokens)) {
    const woven = await openMethod({ ...model, experts }, parsedMethod(router, { topK: flags.topK }));
    used.push({ router, ...(await routeUsage(withWoven(model, woven), tokenizer, tasks)) });
  }
  return used;
}

/** "arrow:temperature=1,scaleBySqrt=false,spectr": a part with = belongs to the router before it. */
function routerList(text: string): string[] {
  const names: string[] = [];
  for (const part of list(text)) {
    if (names.length > 0 && part.includes("=") && !part.includes(":")) names.push(`${names.pop()},${part}`);
    else names.push(part);
  }
  return names;
}

/** A bar over all pairs of method and task. */
function reporter(io: Io, flags: CommonFlags, label: string) {
  const bar = progress(io, flags, { label });
  const start = performance.now();
  return ({ method, task, finished, total, done, examples }: EvaluationProgress) => {
    const share = finished + (finished < total ? done / Math.max(1, examples) : 0);
    const secondsLeft = ((total - share) * (performance.now() - start)) / 1000 / Math.max(share, 1e-3);
    bar.update({ step: finished, steps: total, secondsLeft, note: `${method}: ${task}` });
    if (finished === total) bar.done();
  };
}
