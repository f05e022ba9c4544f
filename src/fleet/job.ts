/** @file The jobs of a farm: each is a folder with what to do, and is known by the hash of everything its result depends on.
 *
 *      OUT.farm/lock                     the farm that runs
 *      OUT.farm/jobs/<name>-<key>/       job.json, runs/ to resume from, <name>/ the expert, done.json
 *      OUT.farm/evaluation/              results by method and task, from which an evaluation goes on */

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { codeOf } from "../checkpoint/atomic.ts";
import { fileHash } from "../storage/files.ts";
import type { Progress } from "../training/loop.ts";
import type { ExpertPlan, PoolRecipe } from "./recipe-file.ts";
import type { EvaluationPlan, Source } from "./recipe-schema.ts";

/** Changes when the same inputs would give another result. */
export const VERSION = 1;

interface Common {
  readonly version: number;
  /** Unique among the jobs of a farm. */
  readonly name: string;
  readonly base: string;
  readonly baseName: string;
}
export interface ExpertJob extends Common {
  readonly kind: "expert";
  readonly expert: ExpertPlan;
  readonly dataFolder: string;
}
export interface MoaJob extends Common {
  readonly kind: "moa";
  readonly options: PoolRecipe["moa"];
  readonly experts: readonly { readonly plan: ExpertPlan; readonly folder: string }[];
  readonly dataFolder: string;
}
export interface EvaluationJob extends Common {
  readonly kind: "evaluation";
  readonly title: string;
  readonly pool: string;
  readonly plan: EvaluationPlan;
  readonly isMoa: boolean;
  readonly seed: number;
  readonly methods: readonly string[];
  /** Only the task of this name. */
  readonly task?: string;
  readonly cache: string;
  readonly dataFolder: string;
  /** Writes results and the report there; absent: only fills the cache. */
  readonly out?: string;
  /** Folders with runs, for the learning curves. */
  readonly runs: readonly string[];
}
/** A few steps, to know how long they take and how much memory. */
export interface MeasureJob extends Common {
  readonly kind: "measure";
  readonly expert: ExpertPlan;
  readonly dataFolder: string;
}
export type Job = ExpertJob | MoaJob | EvaluationJob | MeasureJob;
/** What a job makes: an expert, Mixture-of-LoRAs routers, results of an evaluation, or a measurement. */
export type JobKind = "expert" | "moa" | "evaluation" | "measure";

/** What a job tells when it is done. */
export interface JobResult {
  readonly seconds: number;
  /** Largest memory of the process. */
  readonly peakBytes: number;
  readonly loss?: number;
  readonly tokensPerSecond?: number;
}

/** How far a job is: a stage, and the steps in it where it has steps. */
export interface JobProgress extends Partial<Pick<Progress, "step" | "steps" | "loss" | "validation" | "tokensPerSecond" | "secondsLeft">> {
  readonly stage: string;
}
export interface JobHooks {
  readonly onProgress?: (progress: JobProgress) => void;
  readonly onWarning?: (message: string) => void;
  readonly signal?: AbortSignal;
}
/** What the work of a job gives. */
export type Outcome = Pick<JobResult, "loss" | "tokensPerSecond">;

/** A job's place, by its key. */
export interface Keyed<J extends Job = Job> {
  readonly job: J;
  readonly key: string;
  readonly folder: string;
}

export const common = (recipe: PoolRecipe) => ({ version: VERSION, base: recipe.base, baseName: recipe.baseName });

/** An expert's job. Its key covers the base's numbers, the contents of data files and every option; not where anything lies. */
export async function expertJob(recipe: PoolRecipe, expert: ExpertPlan, fingerprint: string, farm: string): Promise<Keyed<ExpertJob>> {
  const { where: _, label: _label, source, validation, seed, ...rest } = expert;
  const job: ExpertJob = { kind: "expert", name: expert.name, ...common(recipe), expert, dataFolder: recipe.dataFolder };
  const identity = {
    version: VERSION,
    base: fingerprint,
    ...rest,
    source: await identityOf(source),
    validation: validation && (await identityOf(validation)),
    seed: source.demo !== undefined || source.limit !== undefined ? seed : undefined,
  };
  return keyed(job, identity, farm);
}

export function keyed<J extends Job>(job: J, identity: unknown, farm: string): Keyed<J> {
  const key = createHash("sha256").update(sortedJson(identity)).digest("hex");
  return { job, key, folder: join(farm, "jobs", `${job.name}-${key.slice(0, 12)}`) };
}

async function identityOf(source: Source): Promise<unknown> {
  if (!source.files) return source;
  const files = await Promise.all(source.files.map(async (path) => ({ name: basename(path), sha256: await fileHash(path) })));
  return { ...source, files };
}

/** JSON whose fields are in the order of their names. */
function sortedJson(value: unknown): string {
  return JSON.stringify(value, (_, item: unknown) =>
    typeof item === "object" && item !== null && !Array.isArray(item)
      ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)))
      : item,
  );
}

export const JOB_FILE = "job.json";
export const DONE_FILE = "done.json";

/** The result of a job that was done before; undefined where it was not. */
export async function doneBefore(folder: string): Promise<JobResult | undefined> {
  try {
    return JSON.parse(await readFile(join(folder, DONE_FILE), "utf8")) as JobResult;
  } catch (error) {
    if (codeOf(error) === "ENOENT" || error instanceof SyntaxError) return undefined;
    throw error;
  }
}
