/** @file Sweeps over a router's settings: the mean over tasks by the number of experts per token, or by the size of the pool.
 *
 *  The pools of a sweep are the first n experts, in the pool's order. */

import { OptionError } from "../../base/errors.ts";
import { hasOption, takesPartOfPool } from "../../methods/registry.ts";
import type { Chart, Point } from "./chart.ts";
import { type Evaluation, type EvaluationJob, evaluate } from "./evaluate.ts";
import { groupsOf } from "./evaluation-task.ts";
import { type Method, methodName } from "./methods.ts";

/** Each router with each k. The methods are those of the job: those that are not routers, and routers without k, are
 *  left out; undefined when none is left.
 *  @throws OptionError for a k that a router does not take. */
export async function sweepK(job: EvaluationJob, ks: readonly number[]): Promise<Chart | undefined> {
  const routers = job.methods.filter((method) => method.kind === "router").filter(takesK);
  if (routers.length === 0) return undefined;
  const sweep = sweepOf(job, routers);
  for (const [i, k] of ks.entries()) {
    const methods = routers.map((method): Method => ({ ...method, name: methodName(method), topK: k }));
    add(sweep, k, await evaluate({ ...job, methods, ...stepOf(job, i, ks.length, `k ${k}`) }));
  }
  return chart("Experts per token", "k", sweep);
}

/** Each of the job's methods on pools of each size (the first so many experts), the whole pool last.
 *  @throws OptionError for a size larger than the pool. */
export async function sweepPool(job: EvaluationJob, sizes: readonly number[]): Promise<Chart | undefined> {
  const { experts = [] } = job;
  const methods = job.methods.filter(takesPart);
  if (methods.length === 0) return undefined;
  checkPoolSizes(sizes, experts.length);
  const sweep = sweepOf(job, methods);
  const all = [...new Set([...sizes, experts.length])].sort((a, b) => a - b);
  for (const [i, size] of all.entries()) {
    const step = stepOf(job, i, all.length, `${size} experts`);
    add(sweep, size, await evaluate({ ...job, methods, experts: experts.slice(0, size), ...step }));
  }
  return chart("Size of the pool", "experts", sweep);
}

/** Converts the progress of one evaluation to the progress of the whole sweep. */
function stepOf({ onProgress }: EvaluationJob, index: number, steps: number, setting: string): Pick<EvaluationJob, "onProgress"> {
  if (!onProgress) return {};
  return {
    onProgress: ({ method, finished, total, ...rest }) =>
      onProgress({ ...rest, method: `${method}, ${setting}`, finished: index * total + finished, total: steps * total }),
  };
}

/** Refuses sizes above that of the pool. */
export function checkPoolSizes(sizes: readonly number[], experts: number): void {
  const larger = sizes.find((size) => size > experts);
  if (larger === undefined) return;
  const what = `A pool of ${larger} experts was asked for, and the pool has ${experts}.`;
  throw new OptionError({
    code: "option-out-of-range",
    data: { option: "sweepPool", expected: experts, got: larger },
    what,
    where: "sweepPool",
    fix: `Ask for sizes up to ${experts}.`,
  });
}

function takesK(method: Extract<Method, { kind: "router" }>): boolean {
  if (typeof method.router !== "string") return method.router.mixes === "outputs";
  return hasOption(method.router, "topK");
}

function takesPart(method: Method): boolean {
  if (method.kind !== "router") return method.kind === "merged" || method.kind === "lorahub";
  return typeof method.router !== "string" || takesPartOfPool(method.router);
}

interface Sweep {
  readonly points: ReadonlyMap<string, Point[]>;
  readonly tasks: EvaluationJob["tasks"];
  /** Shares in 0..1, not perplexities. */
  isShare: boolean;
}

function sweepOf({ tasks }: EvaluationJob, methods: readonly Method[]): Sweep {
  return { points: new Map(methods.map((method) => [methodName(method), []])), tasks, isShare: true };
}

function add(sweep: Sweep, x: number, { methods, tasks }: Evaluation): void {
  for (const { name, means, tasks: results } of methods) {
    const { value, stderr } = means.find(({ group }) => group === undefined)!;
    sweep.points.get(name)?.push({ x, y: value, ...(Number.isFinite(stderr) && { error: stderr }) });
    sweep.isShare = tasks.some((task) => !results[task.name]!.lowerIsBetter);
  }
}

function chart(title: string, x: string, { points, tasks, isShare }: Sweep): Chart {
  const groups = groupsOf(tasks);
  const of = `${tasks.length} ${groups.length === 1 ? `${groups[0]} ` : ""}${tasks.length === 1 ? "task" : "tasks"}`;
  const series = [...points].map(([name, own]) => ({ name, points: own }));
  return { title, x, y: `mean score over ${of}`, percent: isShare, series };
}
