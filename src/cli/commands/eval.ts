/** @file `skein eval`: methods compared on tasks, in one table and one page. */

import { join } from "node:path";
import type { Command } from "commander";
import type { Expert } from "../../adapters/expert.ts";
import type { Chart } from "../../evaluation/comparison/chart.ts";
import type { Evaluation, EvaluationJob, EvaluationProgress } from "../../evaluation/comparison/evaluate.ts";
import type { EvaluationTask } from "../../evaluation/comparison/evaluation-task.ts";
import type { RouteUsage } from "../../evaluation/scoring/route-usage.ts";
import type { Model } from "../../inference/model.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import { list, numbers, subcommand, wholeNumber } from "../command.ts";
import { adaptersOf, type MethodFlags, methodsOf, namesOf } from "../eval-methods.ts";
import { interruptible } from "../interrupt.ts";
import { type CommonFlags, type Io, show, warn } from "../io.ts";
import { downloadProgress, progress } from "../progress.ts";

interface Flags extends MethodFlags {
  readonly base: string;
  readonly tasks?: readonly string[];
  readonly heldOut?: readonly string[];
  readonly benchmark?: string;
  readonly data?: string;
  readonly dataFolder?: string;
  readonly limit?: number;
  readonly shots?: number;
  readonly sweepK?: readonly number[];
  readonly sweepPool?: readonly number[];
  readonly batchSize?: number;
  readonly maxLength?: number;
  readonly cache?: string;
  readonly out?: string;
  readonly report?: string;
}

const USUAL_SHOTS = 5; // as in the LoraHub paper

export function addEval(program: Command, io: Io, summary: string): void {
  const command = subcommand(program, "eval [tasks...]", {
    summary,
    example:
      "skein eval nouns.jsonl verbs.jsonl --base models/t5 --pool my-pool --routers phatgoose,arrow --out results --report report.html",
  });
  withMethodFlags(withTaskFlags(command.requiredOption("--base <dir>", "the base model: a folder or a Hugging Face id")))
    .option("--batch-size <n>", "rows side by side (default: 32)", wholeNumber(1))
    .option(
      "--max-length <n>",
      "longest sequence in tokens; longer inputs lose their beginning (default: what the model was made for, none for T5)",
      wholeNumber(1),
    )
    .option("--cache <dir>", "keep results here, so that an evaluation that was stopped goes on (default: with --out, its folder cache)")
    .option("--out <dir>", "also write results.json, results.md, and lm-evaluation-harness's results and samples of each method")
    .option("--report <file>", "also write a page: tables, expert use by task and layer, entropy, agreement with the oracle, sweeps")
    .action((files: readonly string[], flags: Flags) => run(io, files, flags));
}

function withTaskFlags(command: Command): Command {
  return command
    .option("--tasks <tasks...>", "more tasks: files, folders, YAML of lm-evaluation-harness, recipes such as recipes/benchmarks/bbh.yaml")
    .option("--held-out <tasks...>", "tasks to average apart from the others")
    .option("--benchmark <recipe>", "the tasks of a benchmark recipe")
    .option(
      "--data <dir>",
      "where the datasets are that YAML files name: a folder or a Hugging Face cache (default: data); others are fetched from the Hub",
    )
    .option("--data-folder <dir>", "the same as --data")
    .option("--limit <n>", "only the first examples of each task", wholeNumber(1))
    .option(
      "--shots <n>",
      "set the first examples of each task aside, labeled, for lorahub to learn from (default: 5 with lorahub)",
      wholeNumber(1),
    );
}

function withMethodFlags(command: Command): Command {
  return command
    .option("--pool <dir>", "a pool of experts")
    .option("--routers <names>", "routers of the pool, with options as in arrow:temperature=1; several with commas", routerList)
    .option(
      "--methods <names>",
      "base, experts, merged, best_individual, oracle, lorahub, moa (its vote), moa-last, moa-per-layer, or a router's name (default: the first five, and --routers, moa or phatgoose)",
      routerList,
    )
    .option(
      "--adapter <dir>",
      "also evaluate one adapter, such as a multitask one (may be repeated)",
      (dir: string, all: string[]) => [...all, dir],
      [],
    )
    .option("--top-k <k>", "experts per token of the routers", wholeNumber(1))
    .option("--sweep-k <numbers>", "also every router with these many experts per token: 1,2,3,5", wholeNumbers)
    .option(
      "--sweep-pool <numbers>",
      "also every router, the merge and lorahub with the pool's first 4,8,12 experts, and all",
      wholeNumbers,
    );
}

async function run(io: Io, files: readonly string[], flags: Flags): Promise<void> {
  const { loadModel } = await import("../../library/model.ts");
  const { evaluate } = await import("../../evaluation/comparison/evaluate.ts");
  const { resultsJson, saveResults } = await import("../../evaluation/comparison/results.ts");
  const { terminalTable } = await import("../../evaluation/comparison/tables.ts");
  await checkPlaces(flags);
  const names = await namesOf(flags);
  await using model = await loadModel(flags.base, { onWarning: (warning) => warn(io, flags, [warning]) });
  const tokenizer = await model.base.tokenizer();
  const tasks = withShots(await tasksOf(io, files, flags, tokenizer), flags.shots ?? (names.includes("lorahub") ? USUAL_SHOTS : 0));
  const experts = await expertsOf(io, flags, model);
  const methods = [...(await methodsOf(flags, names)), ...(await adaptersOf(io, flags, model))];
  const { readMoa } = await import("../../storage/moa.ts");
  const moa = async () => (flags.pool === undefined ? undefined : await readMoa(flags.pool));
  const { checkPoolSizes } = await import("../../evaluation/comparison/sweeps.ts");
  checkPoolSizes(flags.sweepPool ?? [], experts.length);
  const { batchSize, maxLength, out, report } = flags;
  const cache = flags.cache ?? (out === undefined ? undefined : join(out, "cache"));
  const options = { ...(batchSize && { batchSize }), ...(maxLength && { maxLength }), ...(cache && { cache }) };
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

/** Refuses what could not be written at the end. */
async function checkPlaces({ out, cache, report }: Flags): Promise<void> {
  const { checkFile, checkFolder } = await import("../../checkpoint/atomic.ts");
  for (const folder of [out, cache]) if (folder !== undefined) await checkFolder(folder);
  if (report !== undefined) await checkFile(report);
}

/** Every task that the command names; without --held-out there are no groups. */
async function tasksOf(io: Io, files: readonly string[], flags: Flags, tokenizer: Tokenizer): Promise<EvaluationTask[]> {
  const { readTasks } = await import("../../evaluation/tasks/read-task.ts");
  const { heldOut = [], benchmark, limit } = flags;
  const { hubDatasets } = await import("../../evaluation/tasks/hub-data.ts");
  const elsewhere = hubDatasets({ onProgress: downloadProgress(io, flags) });
  const onWarning = (message: string) => warn(io, flags, [message]);
  const options = { tokenizer, onWarning, dataFolder: flags.data ?? flags.dataFolder, elsewhere };
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

/** The first examples of each task set aside: no method is measured on them. */
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

/** The sweeps asked for, on the held-out tasks where some are. */
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

/** "arrow:temperature=1,scaleBySqrt=false,spectr": what holds an = belongs to the router before it. */
function routerList(text: string): string[] {
  const names: string[] = [];
  for (const part of list(text)) {
    if (names.length > 0 && part.includes("=") && !part.includes(":")) names.push(`${names.pop()},${part}`);
    else names.push(part);
  }
  return names;
}

function wholeNumbers(text: string): number[] {
  return numbers(text).map((value) => wholeNumber(1)(String(value)));
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
