/** @file A farm: makes every expert of a recipe, the pool of them, and its evaluation, in child processes side by side on this machine.
 *
 *  Each job is kept in a folder by the hash of its inputs: what is done is not done again, what was stopped or killed goes on, and an
 *  expert whose recipe changed is made anew. An expert that fails is named at the end, and does not stop the others. */

import { cp, rm } from "node:fs/promises";
import { join } from "node:path";
import { TrainingError } from "../base/errors.ts";
import { stopped } from "../base/stopped.ts";
import { checkFolder, makeFolder } from "../checkpoint/atomic.ts";
import { isFolder } from "../hub/cache.ts";
import { type Base, openBase } from "../inference/base.ts";
import { defaultMethod } from "../methods/registry.ts";
import { exists, fileHash } from "../storage/files.ts";
import { readMoa } from "../storage/moa.ts";
import { refusePool } from "../storage/pool.ts";
import { assemblePool, copyPool } from "./assemble.ts";
import type { Crew, CrewOptions, FarmedExpert } from "./crew.ts";
import { memoryOf } from "./estimate.ts";
import { READ_OFF, tasksOf } from "./evaluation-job.ts";
import { common, DONE_FILE, type EvaluationJob, type ExpertJob, expertJob, type Job, type Keyed, keyed } from "./job.ts";
import { errorOf } from "./job-process.ts";
import { localCrew } from "./local-crew.ts";
import { takeLock } from "./lock.ts";
import { CACHE } from "./portable-job.ts";
import type { FarmQueue } from "./queue/farm-queue.ts";
import { queueCrew } from "./queue-crew.ts";
import type { PoolRecipe } from "./recipe-file.ts";
import type { Store } from "./store/store.ts";
import { filesBelow } from "./store/trees.ts";

/** How a farm works. `out` is the folder of the pool; what the farm goes on from is beside it, in <out>.farm. */
export interface FarmOptions extends CrewOptions {
  /** Jobs side by side on this machine. Default: as many as cores and memory allow. */
  readonly workers?: number | undefined;
  /** Workers that take the jobs from a queue, in place of this machine. */
  readonly remote?: { readonly queue: FarmQueue; readonly store: Store } | undefined;
  /** Leave the evaluation out. */
  readonly withoutEvaluation?: boolean | undefined;
}

/** What a farm made. */
export interface FarmResult {
  readonly pool: string;
  readonly experts: readonly FarmedExpert[];
  /** For each expert that was made, the folder of its training runs, which hold the learning curves. */
  readonly runs: readonly string[];
  /** The page with results, where the recipe has an evaluation. */
  readonly report?: string;
  readonly workers: number;
  readonly seconds: number;
}

/** Makes the recipe's pool: trains every expert, its gates and statistics, evaluates, and writes the report. The same call goes on after
 *  it was stopped. Experts that failed are in the result.
 *  @throws TrainingError when no expert could be made, or another process makes this pool; StoppedError when the signal aborts. */
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
  const bytes = Math.max(...recipe.experts.map((expert) => memoryOf(base, expert)));
  const local = localCrew({ ...options, bytes, count: jobs.length });
  const crew = options.remote
    ? queueCrew({ ...options, ...options.remote, farm: recipe.name, base: { name: asked.base, fingerprint }, labelOf })
    : local;
  const experts = await crew.run(jobs);
  const whole = jobs.filter((_, i) => experts[i]!.state !== "failed");
  const made = whole.map(({ job: { name }, folder }) => ({ name, folder: join(folder, name) }));
  if (made.length === 0) throw failed(experts, recipe.path);
  const setting = { farm, out, crew, local };
  const poolBase = { name: recipe.baseName, fingerprint };
  if (recipe.moa && made.length === jobs.length) await moaPool(recipe, jobs, setting);
  else await assemblePool(out, join(farm, "pool.partial"), poolBase, made);
  const report = recipe.evaluation && !withoutEvaluation ? await evaluated(recipe, base, whole, setting) : undefined;
  if (signal?.aborted) throw stopped({ work: "work", kept: farm });
  const seconds = (performance.now() - start) / 1000;
  const runs = whole.map(runsOf);
  return { pool: out, experts, runs, ...(report !== undefined && { report }), workers: crew.workers, seconds };
}

const runsOf = ({ folder }: Keyed) => join(folder, "runs");

function labelOf(job: Job): string | undefined {
  if (job.kind === "expert") return job.expert.label;
  return job.kind === "evaluation" ? job.plan.label : undefined;
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

interface Setting {
  readonly farm: string;
  readonly out: string;
  readonly crew: Crew;
  /** For what is done on this machine, whoever does the rest. */
  readonly local: Crew;
}

/** A job that everything after it needs. */
async function needed(crew: Crew, job: Keyed): Promise<void> {
  const [outcome] = await crew.run([job]);
  if (outcome?.problem) throw errorOf(outcome.problem);
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

/** Runs every method, each in a process of its own, and then writes the report of all on this machine. */
async function evaluated(recipe: PoolRecipe, base: Base, jobs: readonly Keyed<ExpertJob>[], setting: Setting): Promise<string> {
  const { farm, out, crew, local } = setting;
  const plan = recipe.evaluation!;
  const own = await defaultMethod({ moa: () => readMoa(out) });
  const methods = plan.methods ?? ["base", "experts", "merged", "best_individual", "oracle", own];
  const asked = { plan, isMoa: recipe.moa !== undefined, seed: recipe.seed, dataFolder: recipe.dataFolder };
  const shared = { ...common(recipe), ...asked, kind: "evaluation" as const, title: recipe.name, pool: out };
  const cache = join(farm, "evaluation");
  const runs = jobs.map(runsOf);
  const hashes = await Promise.all([...(plan.tasks ?? []), ...(plan.heldOut ?? [])].map(contentOf));
  const identity = { plan, hashes, seed: recipe.seed, keys: jobs.map(({ key }) => key), moa: recipe.moa };
  const one = (name: string, extra: Pick<EvaluationJob, "methods" | "out" | "task">) =>
    keyed<EvaluationJob>({ ...shared, name, cache, runs, ...extra }, { ...identity, ...extra }, farm);
  const direct = methods.filter((method) => !READ_OFF.includes(method));
  const tasks = crew.splitsTasks ? (await tasksOf(asked, await base.tokenizer())).map(({ name }) => name) : [undefined];
  const asWord = (text: string) => text.replace(/[^\w.-]+/g, "_");
  const parts = direct.flatMap((method, i) =>
    tasks.map((task) => {
      const name = `evaluation-${i + 1}-${asWord(method)}${task === undefined ? "" : `-${asWord(task)}`}`;
      return one(name, { methods: [method], ...(task !== undefined && { task }) });
    }),
  );
  const outcomes = await crew.run(parts);
  const bad = outcomes.find(({ problem }) => problem);
  if (bad?.problem) throw errorOf(bad.problem);
  for (const { folder } of parts) if (await exists(join(folder, CACHE))) await cp(join(folder, CACHE), cache, { recursive: true });
  const page = join(out, "report.html");
  const report = one("report", { methods, out });
  if (!(await exists(page))) await rm(join(report.folder, DONE_FILE), { force: true });
  await needed(local, report);
  return page;
}

/** The hashes of a file, or of the files of a folder. */
async function contentOf(path: string): Promise<unknown> {
  if (!(await isFolder(path))) return fileHash(path);
  const hashes: [string, string][] = [];
  for (const [name, file] of await filesBelow(path)) hashes.push([name, await fileHash(file)]);
  return hashes;
}
