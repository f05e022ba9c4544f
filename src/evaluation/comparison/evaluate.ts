/** @file Compares methods on tasks: base, single experts, merged, routers, and the best choices with knowledge of the labels.
 *
 *  A task's score is the mean of its metrics. A method's score is the plain mean over tasks, per group of tasks (held in, held out)
 *  and over all. Results can be kept in a folder, by method and task, so that a stopped evaluation continues. */

import type { Expert } from "../../adapters/expert.ts";
import { OptionError } from "../../base/errors.ts";
import { stopped } from "../../base/stopped.ts";
import { type Model, withWoven } from "../../inference/model.ts";
import type { PoolParts } from "../../methods/method.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import { mean } from "../metrics/bootstrap.ts";
import { longestSequence } from "../scoring/length.ts";
import { runTask, type TaskResult } from "../scoring/run-task.ts";
import { derivedResults } from "./derived.ts";
import { type EvaluationTask, groupsOf } from "./evaluation-task.ts";
import { expertRow } from "./expert-row.ts";
import { type Method, type MethodKind, type MethodRun, methodName, methodRuns, NEEDS_EXPERTS } from "./methods.ts";
import { readCached, settingsHash, writeCached } from "./result-cache.ts";

/** How far an evaluation has come. */
export interface EvaluationProgress {
  readonly method: string;
  readonly task: string;
  /** Examples of this task done, and all of them. */
  readonly done: number;
  readonly examples: number;
  /** Pairs of method and task finished, and all of them. */
  readonly finished: number;
  readonly total: number;
}
/** What `evaluate` is asked. */
export interface EvaluationJob extends PoolParts {
  readonly model: Model;
  readonly tokenizer: Tokenizer;
  readonly tasks: readonly EvaluationTask[];
  readonly experts?: readonly Expert[];
  readonly methods: readonly Method[];
  /** Rows per batch. Default 32. */
  readonly batchSize?: number;
  /** Longest sequence in tokens. Default: the model's own, `longestSequence`. */
  readonly maxLength?: number;
  /** Folder of kept results. */
  readonly cache?: string;
  /** Aborting throws an error that says how to continue. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: EvaluationProgress) => void;
}

/** What one method scored. Shares are in 0..1, perplexities as they are. */
export interface MethodResult {
  readonly name: string;
  readonly kind: MethodKind;
  readonly tasks: Readonly<Record<string, TaskResult>>;
  /** Over all tasks, and for each group. */
  readonly means: readonly GroupMean[];
  /** A note for readers, such as retrieval's embedder. */
  readonly details?: Readonly<Record<string, string>>;
  /** best_individual: the expert of each group; oracle: of each task. */
  readonly chosen?: Readonly<Record<string, string>>;
}
/** A plain mean over tasks, with its standard error. */
export interface GroupMean {
  /** Absent: all tasks. */
  readonly group?: string;
  readonly value: number;
  readonly stderr: number;
  readonly tasks: number;
}
/** What `evaluate` gives: for every method a score of each task, and means. */
export interface Evaluation {
  readonly date: string;
  readonly base: { readonly path: string; readonly fingerprint: string };
  readonly experts: readonly string[];
  readonly tasks: readonly EvaluationTask[];
  readonly methods: readonly MethodResult[];
}

/** Runs every method on every task.
 *  @throws OptionError for tasks and methods that make no sense, StoppedError when the signal aborts: with `cache`, the same call goes
 *  on.
 *  @example
 *  import { evaluate, loadModel } from "skein";
 *  import { markdownTables, taskOf } from "skein/evaluation";
 *
 *  const model = await loadModel("assets/demo-base");
 *  const tasks = [taskOf("opposite", [{ input: "opposite : 1. hot 2. big", target: "1. cold 2. small" }])];
 *  const evaluation = await evaluate({ model, tokenizer: await model.tokenizer(), tasks, methods: [{ kind: "base" }] });
 *  console.log(markdownTables(evaluation));
 *  await model.dispose(); */
export async function evaluate(job: EvaluationJob): Promise<Evaluation> {
  const { model, tasks, experts = [], methods } = job;
  checkTasks(tasks);
  const runs = await methodRuns(methods, { model, tokenizer: job.tokenizer, experts, moa: job.moa });
  const base = await model.base.fingerprint();
  const results = await runAll(job, runs, base);
  const ofRun = ({ name, kind, details }: MethodRun): MethodResult => {
    return { name, kind, ...summarized(tasks, results.get(name)!), ...(details && { details }) };
  };
  const single = experts.flatMap((expert) => {
    const tasksOf = results.get(expertRow(expert));
    return tasksOf ? [{ name: expert.name, tasks: tasksOf }] : [];
  });
  const rows: MethodResult[] = [];
  for (const method of methods) {
    if (method.kind === "experts") rows.push(...runs.filter(({ kind }) => kind === "experts").map(ofRun));
    else if (NEEDS_EXPERTS.has(method.kind)) {
      const { tasks: tasksOf, chosen } = await derivedResults(method, tasks, single);
      rows.push({ name: methodName(method), kind: method.kind, ...summarized(tasks, tasksOf), ...(chosen && { chosen }) });
    } else rows.push(ofRun(runs.find(({ name }) => name === methodName(method))!));
  }
  const shown = experts.map(({ name }) => name);
  return {
    date: new Date().toISOString(),
    base: { path: model.base.checkpoint.directory, fingerprint: base },
    experts: shown,
    tasks,
    methods: rows,
  };
}

type TaskResults = Readonly<Record<string, TaskResult>>;

async function runAll(job: EvaluationJob, runs: readonly MethodRun[], base: string): Promise<Map<string, TaskResults>> {
  const { tokenizer, tasks, batchSize = 32, maxLength, cache, signal, onProgress } = job;
  const total = runs.length * tasks.length;
  const results = new Map<string, TaskResults>();
  let finished = 0;
  for (const { name, identity, model, woven, perTask = false } of runs) {
    let current = model;
    const own: Record<string, TaskResult> = {};
    const settings = cache === undefined ? "" : await settingsHash(model.base);
    let isOn = false; // nothing is opened for cached results
    try {
      for (const task of tasks) {
        const { shots: _, ...asked } = task;
        const key = { base, settings, method: identity, task: perTask ? task : asked, maxLength: maxLength ?? longestSequence(model) };
        const label = `${name}.${task.name}`;
        const report = (done: number) =>
          onProgress?.({ method: name, task: task.name, done, examples: task.examples.length, finished, total });
        const options = { batchSize, ...(maxLength && { maxLength }), ...(signal && { signal }), onProgress: report };
        let result = cache === undefined ? undefined : await readCached(cache, key, label);
        if (!result) {
          if (perTask || !isOn) current = withWoven(model, await woven(task));
          isOn = true;
          result = await runTask(current, tokenizer, task, options);
          if (cache !== undefined) await writeCached(cache, key, label, result);
        }
        own[task.name] = result;
        finished++;
        report(task.examples.length);
      }
    } catch (error) {
      if (!signal?.aborted) throw error;
      throw stopped({ work: "evaluation", done: finished, total, parts: "evaluations", kept: cache, option: "cache" });
    }
    results.set(name, own);
  }
  return results;
}

function checkTasks(tasks: readonly EvaluationTask[]): void {
  const names = tasks.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) < i);
  if (twice !== undefined)
    throw new OptionError({
      code: "option-duplicate",
      data: { option: "tasks", got: twice },
      what: `Two tasks are named "${twice}".`,
      where: "tasks",
      fix: "Rename one of them.",
    });
  const empty = tasks.find(({ examples }) => examples.length === 0);
  if (empty)
    throw new OptionError({
      code: "option-empty",
      data: { option: "tasks", task: empty.name },
      what: `Task "${empty.name}" has no examples.`,
      where: "tasks",
      fix: "Give it some, or leave it out.",
    });
  if (tasks.length === 0)
    throw new OptionError({
      code: "option-empty",
      data: { option: "tasks" },
      what: "There are no tasks to evaluate.",
      where: "tasks",
      fix: "Name at least one.",
    });
}

/** A method's results with their means, per group and over all. */
export function summarized(tasks: readonly EvaluationTask[], results: TaskResults): Pick<MethodResult, "tasks" | "means"> {
  const over = (chosen: readonly EvaluationTask[]) => {
    // Perplexities and shares have no common mean. If both occur, only the shares count.
    const all = chosen.map(({ name }) => results[name]!);
    const shares = all.filter(({ lowerIsBetter }) => !lowerIsBetter);
    const scores = (shares.length > 0 ? shares : all).map(({ score }) => score);
    const stderr = Math.sqrt(scores.reduce((sum, score) => sum + score.stderr ** 2, 0)) / scores.length;
    return { value: mean(scores.map(({ value }) => value)), stderr, tasks: scores.length };
  };
  const groups = groupsOf(tasks).map((group) => ({ group, ...over(tasks.filter((task) => task.group === group)) }));
  return { tasks: results, means: [over(tasks), ...groups] };
}
