/** @file A farm: makes every expert of a recipe, the pool of them, and its evaluation, in child processes side by side on this machine.
 *
 *  Each job is kept in a folder by the hash of its inputs: what is done is not done again, what was stopped or killed goes on, and an
 *  expert whose recipe changed is made anew. An expert that fails is named at the end, and does not stop the others. */

import { rm } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { TrainingError, UserError } from "../base/errors.ts";
import { stopped } from "../base/stopped.ts";
import { checkFolder, makeFolder, writeFileAtomically } from "../checkpoint/atomic.ts";
import { isFolder } from "../hub/cache.ts";
import { type Base, openBase } from "../inference/base.ts";
import { defaultMethod } from "../methods/registry.ts";
import { exists, fileHash } from "../storage/files.ts";
import { readMoa } from "../storage/moa.ts";
import { refusePool } from "../storage/pool.ts";
import { assemblePool, copyPool } from "./assemble.ts";
import { fittingWorkers, memoryOf } from "./estimate.ts";
import { READ_OFF } from "./evaluation-job.ts";
import {
  common,
  DONE_FILE,
  doneBefore,
  type EvaluationJob,
  type ExpertJob,
  expertJob,
  JOB_FILE,
  type Job,
  type JobProgress,
  type JobResult,
  type Keyed,
  keyed,
} from "./job.ts";
import { JobFailure, type JobProblem, type JobProgram, startJob } from "./job-process.ts";
import { takeLock } from "./lock.ts";
import type { PoolRecipe } from "./recipe-file.ts";

export interface FarmOptions {
  /** Folder of the pool; what the farm goes on from is beside it, in <out>.farm. */
  readonly out: string;
  /** The program that does one job in a process of its own: it calls `serveJob` with its last argument. */
  readonly program: JobProgram;
  /** Jobs side by side. Default: as many as cores and memory allow. */
  readonly workers?: number | undefined;
  /** Leave the evaluation out. */
  readonly withoutEvaluation?: boolean | undefined;
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: FarmEvent) => void;
  readonly onWarning?: (message: string) => void;
}

/** What became of a job, or how far it is. */
export interface FarmEvent extends Partial<JobProgress> {
  readonly job: string;
  readonly kind: Job["kind"];
  /** kept: it was done before. */
  readonly state: "waiting" | "running" | "done" | "kept" | "failed" | "stopped";
  readonly seconds?: number;
  readonly problem?: JobProblem;
}
export interface FarmedExpert {
  readonly name: string;
  readonly key: string;
  readonly state: "done" | "kept" | "failed";
  readonly seconds?: number;
  readonly problem?: JobProblem;
}
export interface FarmResult {
  readonly pool: string;
  readonly experts: readonly FarmedExpert[];
  /** The page with results, where the recipe has an evaluation. */
  readonly report?: string;
  readonly workers: number;
  readonly seconds: number;
}

/** Makes the recipe's pool. Experts that failed are in the result; without a single expert there is no pool, and that is an error. */
export async function runFarm(recipe: PoolRecipe, options: FarmOptions): Promise<FarmResult> {
  const { out } = options;
  const farm = `${out}.farm`;
  await checkFolder(out);
  if (!(await exists(farm))) await refusePool(out);
  await makeFolder(join(farm, "jobs"));
  const release = await takeLock(join(farm, "lock"));
  try {
    return await farmed(recipe, farm, options);
  } finally {
    await release();
  }
}

async function farmed(asked: PoolRecipe, farm: string, options: FarmOptions): Promise<FarmResult> {
  const { out, withoutEvaluation = false, onEvent, signal } = options;
  const start = performance.now();
  const base = await openBase(asked.base);
  const recipe = { ...asked, base: base.checkpoint.directory }; // every job computes on this very copy
  const fingerprint = await base.fingerprint();
  const jobs: Keyed<ExpertJob>[] = [];
  for (const expert of recipe.experts) jobs.push(await expertJob(recipe, expert, fingerprint, farm));
  for (const { job } of jobs) onEvent?.({ job: job.name, kind: job.kind, state: "waiting" });
  const crew = crewOf(recipe, base, options, jobs.length);
  const experts = await crew.run(jobs);
  const whole = jobs.filter((_, i) => experts[i]!.state !== "failed");
  const made = whole.map(({ job: { name }, folder }) => ({ name, folder: join(folder, name) }));
  if (made.length === 0) throw failed(experts, recipe.path);
  const poolBase = { name: recipe.baseName, fingerprint };
  if (recipe.moa && made.length === jobs.length) await moaPool(recipe, jobs, { farm, out, crew });
  else await assemblePool(out, join(farm, "pool.partial"), poolBase, made);
  const report = recipe.evaluation && !withoutEvaluation ? await evaluated(recipe, whole, { farm, out, crew }) : undefined;
  if (signal?.aborted) throw stopped({ work: "work", kept: farm });
  const seconds = (performance.now() - start) / 1000;
  return { pool: out, experts, ...(report !== undefined && { report }), workers: crew.workers, seconds };
}

/** The error of a farm some of whose experts failed. */
export function failed(experts: readonly FarmedExpert[], where: string): TrainingError {
  const bad = experts.filter(({ state }) => state === "failed");
  const [first] = bad;
  const lines = bad.map(({ name, problem }) => `${name}: ${problem?.what ?? "unknown"}${problem?.where ? ` (${problem.where})` : ""}`);
  return new TrainingError({
    code: "farm-failed",
    data: { known: bad.map(({ name }) => name) },
    what: `${bad.length} of ${experts.length} experts failed. ${lines.join("; ")}`,
    where,
    fix: `${first?.problem?.fix ?? "See the messages above."} Then run the same again: what is done is kept.`,
  });
}

interface Crew {
  readonly workers: number;
  /** Does these jobs, as many side by side as there are workers; in the end each has an outcome. */
  run(jobs: readonly Keyed[]): Promise<FarmedExpert[]>;
}
interface Setting {
  readonly farm: string;
  readonly out: string;
  readonly crew: Crew;
}

function crewOf(recipe: PoolRecipe, base: Base, options: FarmOptions, count: number): Crew {
  const { signal } = options;
  const bytes = Math.max(...recipe.experts.map((expert) => memoryOf(base, expert)));
  const cores = availableParallelism();
  const workers = options.workers ?? fittingWorkers(cores, bytes, count);
  const threads = Math.max(1, Math.floor(cores / workers));
  const run = async (jobs: readonly Keyed[]): Promise<FarmedExpert[]> => {
    const results: FarmedExpert[] = [];
    let next = 0;
    const work = async (): Promise<void> => {
      while (next < jobs.length && !signal?.aborted) {
        const i = next++;
        results[i] = await doJob(jobs[i]!, { ...options, threads });
      }
    };
    await Promise.all(Array.from({ length: Math.min(workers, jobs.length) }, work));
    if (signal?.aborted) {
      const done = results.filter((one) => one && one.state !== "failed").length;
      throw stopped({ work: "work", done, total: jobs.length, parts: "jobs", kept: `${options.out}.farm` });
    }
    return results;
  };
  return { workers, run };
}

const TRIES = 2; // of a process that dies

async function doJob({ job, key, folder }: Keyed, options: FarmOptions & { readonly threads: number }): Promise<FarmedExpert> {
  const { program, threads, signal, onEvent, onWarning } = options;
  const { name, kind } = job;
  const tell = (event: Omit<FarmEvent, "job" | "kind">) => onEvent?.({ job: name, kind, ...event });
  const known = await doneBefore(folder);
  if (known) {
    tell({ state: "kept", seconds: known.seconds, ...(known.loss !== undefined && { loss: known.loss }) });
    return { name, key, state: "kept", seconds: known.seconds };
  }
  await makeFolder(folder);
  await writeFileAtomically(join(folder, JOB_FILE), `${JSON.stringify(job, null, 2)}\n`);
  tell({ state: "running", stage: "starting" });
  for (let tries = 1; ; tries++) {
    try {
      const result: JobResult = await startJob(program, folder, {
        threads,
        ...(signal && { signal }),
        onProgress: (progress) => tell({ state: "running", ...progress }),
        onWarning: (warning) => onWarning?.(`${name}: ${warning}`),
      });
      tell({ state: "done", seconds: result.seconds, ...(result.loss !== undefined && { loss: result.loss }) });
      return { name, key, state: "done", seconds: result.seconds };
    } catch (error) {
      if (!(error instanceof JobFailure)) throw error;
      if (error.died && tries < TRIES && !signal?.aborted) continue;
      const { problem } = error;
      tell(signal?.aborted ? { state: "stopped" } : { state: "failed", problem });
      return { name, key, state: "failed", problem };
    }
  }
}

/** A job that everything after it needs. */
async function needed(crew: Crew, job: Keyed): Promise<void> {
  const [outcome] = await crew.run([job]);
  if (outcome?.problem) throw problemOf(outcome.problem);
}

function problemOf({ name: _, ...problem }: JobProblem): UserError {
  return new UserError(problem);
}

async function moaPool(recipe: PoolRecipe, jobs: readonly Keyed<ExpertJob>[], { farm, out, crew }: Setting): Promise<void> {
  const experts = jobs.map(({ job, folder }) => ({ plan: job.expert, folder: join(folder, job.name) }));
  const identity = { keys: jobs.map(({ key }) => key), moa: recipe.moa };
  const job = keyed(
    { kind: "moa", name: "routers", ...common(recipe), options: recipe.moa, experts, dataFolder: recipe.dataFolder },
    identity,
    farm,
  );
  await needed(crew, job);
  await copyPool(out, join(job.folder, "pool"), join(farm, "pool.partial"));
}

/** Runs every method, each in a process of its own, and then writes the report of all. */
async function evaluated(recipe: PoolRecipe, jobs: readonly Keyed<ExpertJob>[], { farm, out, crew }: Setting): Promise<string> {
  const plan = recipe.evaluation!;
  const own = await defaultMethod({ moa: () => readMoa(out) });
  const methods = plan.methods ?? ["base", "experts", "merged", "best_individual", "oracle", own];
  const shared = {
    ...common(recipe),
    kind: "evaluation" as const,
    title: recipe.name,
    pool: out,
    plan,
    isMoa: recipe.moa !== undefined,
    seed: recipe.seed,
    dataFolder: recipe.dataFolder,
  };
  const cache = join(farm, "evaluation");
  const runs = jobs.map(({ folder }) => join(folder, "runs"));
  const taskFiles = [...(plan.tasks ?? []), ...(plan.heldOut ?? [])];
  const hashes = await Promise.all(taskFiles.map(async (path) => ((await isFolder(path)) ? path : await fileHash(path))));
  const identity = { plan, hashes, seed: recipe.seed, keys: jobs.map(({ key }) => key), moa: recipe.moa };
  const one = (name: string, extra: Pick<EvaluationJob, "methods" | "out">) =>
    keyed<EvaluationJob>({ ...shared, name, cache, runs, ...extra }, { ...identity, ...extra }, farm);
  const direct = methods.filter((method) => !READ_OFF.includes(method));
  const outcomes = await crew.run(
    direct.map((method, i) => one(`evaluation-${i + 1}-${method.replace(/[^\w.-]+/g, "_")}`, { methods: [method] })),
  );
  const bad = outcomes.find(({ problem }) => problem);
  if (bad?.problem) throw problemOf(bad.problem);
  const page = join(out, "report.html");
  const report = one("report", { methods, out });
  if (!(await exists(page))) await rm(join(report.folder, DONE_FILE), { force: true });
  await needed(crew, report);
  return page;
}
