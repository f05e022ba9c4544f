/** @file The evaluation of a farm's pool: each method fills the cache in a process of its own; the last job reads all of it and writes the
 *  tables and the report. */

import { join } from "node:path";
import type { Expert } from "../adapters/expert.ts";
import { evaluationTask } from "../demo/evaluation-task.ts";
import { domainExamples, MOA_DOMAINS } from "../demo/moa-domains.ts";
import { HELD_IN_TASKS, HELD_OUT_TASKS } from "../demo/tasks.ts";
import type { Chart } from "../evaluation/comparison/chart.ts";
import { evaluate } from "../evaluation/comparison/evaluate.ts";
import type { EvaluationTask } from "../evaluation/comparison/evaluation-task.ts";
import type { Method } from "../evaluation/comparison/methods.ts";
import { saveResults } from "../evaluation/comparison/results.ts";
import { readCurves } from "../evaluation/report/read-curves.ts";
import { writeReport } from "../evaluation/report/report.ts";
import { type RouteUsage, routeUsage } from "../evaluation/scoring/route-usage.ts";
import { hubDatasets } from "../evaluation/tasks/hub-data.ts";
import { readTasks } from "../evaluation/tasks/read-task.ts";
import { type Model, withWoven } from "../inference/model.ts";
import { openExperts } from "../inference/open.ts";
import { loadModel } from "../library/model.ts";
import { METHOD_NAMES, openMethod, parsedMethod, scoresTokens } from "../methods/registry.ts";
import { exists } from "../storage/files.ts";
import { readMoa } from "../storage/moa.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { EvaluationJob, JobHooks, Outcome } from "./job.ts";
import type { EvaluationPlan } from "./recipe-schema.ts";

/** What is read off the results of single experts, or of other methods, and costs no computation of its own. */
export const READ_OFF: readonly string[] = ["best_individual", "oracle"];
const PLAIN = ["base", "experts", "merged", "best_individual", "oracle", "lorahub"] as const;
type PlainMethod = (typeof PLAIN)[number];

/** The methods with these names. */
function methodsOf(names: readonly string[]): Method[] {
  const isPlain = (name: string): name is PlainMethod => PLAIN.some((known) => known === name);
  return names.map((name): Method => (isPlain(name) ? { kind: name } : { kind: "router", router: name }));
}

export async function runEvaluation(job: EvaluationJob, hooks: JobHooks): Promise<Outcome> {
  const { plan, methods, cache, pool, out } = job;
  await using model = await loadModel(job.base, hooks.onWarning && { onWarning: hooks.onWarning });
  const tokenizer = await model.tokenizer();
  const tasks = (await tasksOf(job, tokenizer, hooks)).filter(({ name }) => job.task === undefined || name === job.task);
  const experts = await openExperts(model, pool);
  const start = performance.now();
  const evaluation = await evaluate({
    model,
    tokenizer,
    tasks,
    experts,
    methods: methodsOf(methods),
    moa: () => readMoa(pool),
    cache,
    ...(plan.batchSize && { batchSize: plan.batchSize }),
    ...(hooks.signal && { signal: hooks.signal }),
    onProgress: ({ method, finished, total, done, examples }) => {
      const share = finished + (finished < total ? done / Math.max(1, examples) : 0);
      const secondsLeft = ((total - share) * (performance.now() - start)) / 1000 / Math.max(share, 1e-3);
      hooks.onProgress?.({ stage: `evaluation: ${method}`, step: finished, steps: total, secondsLeft });
    },
  });
  if (out === undefined) return {};
  hooks.onProgress?.({ stage: "report" });
  const usage = await usageOf(model, tokenizer, tasks, { experts, methods, pool });
  await saveResults(join(out, "evaluation"), evaluation, { usage });
  await writeReport(join(out, "report.html"), { title: job.title, evaluation, usage, curves: await curvesOf(job.runs) });
  return {};
}

/** The tasks of a plan, with their examples. */
export async function tasksOf(
  { plan, dataFolder, seed, isMoa }: Pick<EvaluationJob, "plan" | "dataFolder" | "seed" | "isMoa">,
  tokenizer: Tokenizer,
  hooks: JobHooks = {},
): Promise<EvaluationTask[]> {
  const options = { tokenizer, dataFolder, elsewhere: hubDatasets(), ...(hooks.onWarning && { onWarning: hooks.onWarning }) };
  const read = async (paths: readonly string[] = [], group?: string) => {
    const all = (await Promise.all(paths.map((path) => readTasks(path, options)))).flat();
    return all.map((task) => shortened({ ...task, ...(group && { group }) }, plan));
  };
  const { tasks, heldOut, demo } = plan;
  const generated = demo === undefined ? [] : demoTasks(demo, seed, isMoa);
  return [...generated, ...(await read(tasks, heldOut ? "held in" : undefined)), ...(await read(heldOut, "held out"))];
}

/** The demo's tasks; of a Mixture-of-LoRAs model its domains. */
function demoTasks(count: number, seed: number, isMoa: boolean): EvaluationTask[] {
  const tasks = [...HELD_IN_TASKS, ...HELD_OUT_TASKS].map((task) => evaluationTask(task, count, seed));
  if (!isMoa) return tasks;
  return MOA_DOMAINS.map((name) => ({
    ...tasks[0]!,
    name,
    group: "domains",
    examples: domainExamples(name, "test", count, seed),
    shots: [],
  }));
}

function shortened(task: EvaluationTask, { limit, shots = 0 }: EvaluationPlan): EvaluationTask {
  const examples = task.examples.slice(0, limit === undefined ? undefined : limit + shots);
  return shots === 0 ? { ...task, examples } : { ...task, examples: examples.slice(shots), shots: examples.slice(0, shots) };
}

interface Used {
  readonly experts: readonly Expert[];
  readonly methods: readonly string[];
  readonly pool: string;
}

/** Expert use under each router that chooses token by token. */
async function usageOf(
  model: Model,
  tokenizer: Tokenizer,
  tasks: readonly EvaluationTask[],
  { experts, methods, pool }: Used,
): Promise<RouteUsage[]> {
  if (experts.length === 0 || tasks.every(({ kind }) => kind === "loglikelihood_rolling")) return [];
  const routers = methods.filter((name) => METHOD_NAMES.includes(name.split(":")[0]!) && scoresTokens(name));
  const used: RouteUsage[] = [];
  for (const router of routers) {
    const woven = await openMethod({ ...model, experts, moa: () => readMoa(pool) }, parsedMethod(router));
    used.push({ router, ...(await routeUsage(withWoven(model, woven), tokenizer, tasks)) });
  }
  return used;
}

/** The learning curves of all jobs, those of one kind in one chart. */
async function curvesOf(folders: readonly string[]): Promise<Chart[]> {
  const charts = new Map<string, Chart>();
  for (const folder of folders) {
    if (!(await exists(folder))) continue;
    for (const chart of await readCurves(folder)) {
      const known = charts.get(chart.title);
      charts.set(chart.title, known ? { ...known, series: [...known.series, ...chart.series] } : chart);
    }
  }
  return [...charts.values()];
}
