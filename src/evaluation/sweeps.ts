/** @file Routers with their knobs turned: the mean over tasks by the number of experts per token, or by the size of the pool.
 *
 *  Pools of a sweep are the first n experts, in the pool's own order. */

import { OptionError } from "../base/errors.ts";
import { parsedRouter } from "../routing/registry.ts";
import { type Evaluation, type EvaluationJob, evaluate } from "./evaluate.ts";
import { type Method, methodName } from "./methods.ts";
import type { Chart, Point } from "./report/curves.ts";

/** The job of an evaluation; its methods are those that are swept. */
export type SweepJob = EvaluationJob;

/** Each router with each k. Methods that are no router, or a router without k, are left out; undefined when none is left. */
export async function sweepK(job: SweepJob, ks: readonly number[]): Promise<Chart | undefined> {
  const routers = job.methods.filter((method) => method.kind === "router").filter(takesK);
  if (routers.length === 0) return undefined;
  const points = new Map<string, Point[]>(routers.map((method) => [methodName(method), []]));
  for (const k of ks) {
    const methods = routers.map((method): Method => ({ ...method, name: methodName(method), topK: k }));
    add(points, k, await evaluate({ ...job, methods }));
  }
  return chart("Experts per token", "k", points);
}

/** Each method on pools of each size, the whole pool last. */
export async function sweepPool(job: SweepJob, sizes: readonly number[]): Promise<Chart | undefined> {
  const { experts = [] } = job;
  const methods = job.methods.filter(({ kind }) => kind === "router" || kind === "merged" || kind === "lorahub");
  if (methods.length === 0) return undefined;
  checkPoolSizes(sizes, experts.length);
  const points = new Map<string, Point[]>(methods.map((method) => [methodName(method), []]));
  for (const size of [...new Set([...sizes, experts.length])].sort((a, b) => a - b)) {
    add(points, size, await evaluate({ ...job, methods, experts: experts.slice(0, size) }));
  }
  return chart("Size of the pool", "experts", points);
}

/** Refuses pools that would be larger than the pool is. */
export function checkPoolSizes(sizes: readonly number[], experts: number): void {
  const larger = sizes.find((size) => size > experts);
  if (larger === undefined) return;
  const what = `A pool of ${larger} experts was asked for, and the pool has ${experts}.`;
  throw new OptionError({ what, where: "--sweep-pool", fix: `Ask for sizes up to ${experts}.` });
}

function takesK(method: Extract<Method, { kind: "router" }>): boolean {
  if (typeof method.router !== "string") return method.router.mixes === "outputs";
  try {
    const { topK } = { topK: undefined, ...parsedRouter(method.router, { topK: 1 }) };
    return topK === 1;
  } catch (error) {
    if (error instanceof OptionError) return false; // its options know no k
    throw error;
  }
}

function add(points: ReadonlyMap<string, Point[]>, x: number, { methods }: Evaluation): void {
  for (const { name, means } of methods) {
    const { value, stderr } = means.find(({ group }) => group === undefined)!;
    points.get(name)?.push({ x, y: value, ...(Number.isFinite(stderr) && { error: stderr }) });
  }
}

function chart(title: string, x: string, points: ReadonlyMap<string, readonly Point[]>): Chart {
  return { title, x, y: "mean score over tasks", series: [...points].map(([name, own]) => ({ name, points: own })) };
}
