/** @file The demo's training: for each held-in task an expert with gates, and statistics for the routers that use none; one LoRA for all
 *  tasks together; the pool.
 *
 *      OUT/experts/<task>/   PEFT adapter, gates, model card
 *      OUT/multitask/        one LoRA on the union of the tasks' data
 *      OUT/pool/             pool.json and the experts
 *      OUT/runs/<name>/      saved states to resume from, and the learning curves
 *
 *  Everything depends only on the seed. Finished parts are not repeated. */

import { access, rm } from "node:fs/promises";
import { join } from "node:path";
import { EMBEDDING_FILE } from "../adapters/file-names.ts";
import { derivedSeed } from "../base/random.ts";
import type { Model } from "../inference/model.ts";
import { addExpert, createPool } from "../storage/pool.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { LoopHooks } from "../training/loop.ts";
import { gatherStatistics } from "../training/statistics.ts";
import { trainExpert, trainGate } from "../training/train.ts";
import type { Example } from "./documents.ts";
import { type DemoTask, examples, HELD_IN_TASKS, trainingExamples } from "./tasks.ts";

/** The recipe, chosen on development tasks only; rank, scaling, learning rate and schedule are the paper's. */
export const RECIPE = { numExamples: 2000, batchSize: 32, steps: 120, gateSteps: 100, multitaskSteps: 200, numStatistics: 300 } as const;

export interface ExpertsJob {
  readonly model: Model;
  readonly tokenizer: Tokenizer;
  /** Name of the base, for the experts' cards. */
  readonly baseName: string;
  readonly out: string;
  readonly seed: number;
  readonly signal?: AbortSignal;
  /** Called as each part begins, and while it trains. */
  readonly onPart?: (part: string, progress?: Parameters<NonNullable<LoopHooks["onProgress"]>>[0]) => void;
}

/** Examples in the form of training data. */
export const asPairs = (made: readonly Example[]) => made.map(({ input, target }) => ({ kind: "pair" as const, input, target }));

/** Trains the missing parts and returns the pool's folder and the multitask adapter's. */
export async function demoExperts(job: ExpertsJob): Promise<{ pool: string; multitask: string; runs: string }> {
  const { out, seed } = job;
  for (const task of HELD_IN_TASKS) await expert(job, task);
  const union = HELD_IN_TASKS.flatMap((task) => trainingExamples(task, RECIPE.numExamples, seed));
  await lora(job, "multitask", join(out, "multitask"), union, RECIPE.multitaskSteps);
  const pool = join(out, "pool");
  await rm(pool, { recursive: true, force: true });
  await createPool(pool, { name: job.baseName, fingerprint: await job.model.base.fingerprint() });
  for (const { name } of HELD_IN_TASKS) await addExpert(pool, join(out, "experts", name));
  return { pool, multitask: join(out, "multitask"), runs: join(out, "runs") };
}

async function expert(job: ExpertsJob, task: DemoTask): Promise<void> {
  const folder = join(job.out, "experts", task.name);
  const training = trainingExamples(task, RECIPE.numExamples, job.seed);
  await lora(job, task.name, folder, training, RECIPE.steps, examples(task, "validation", 64, job.seed));
  await gates(job, task, folder, training);
  if (await exists(join(folder, EMBEDDING_FILE))) return;
  job.onPart?.(`statistics of ${task.name}`);
  await gatherStatistics({ ...base(job), expert: folder, examples: asPairs(training.slice(0, RECIPE.numStatistics)) });
}

async function gates(job: ExpertsJob, task: DemoTask, folder: string, training: readonly Example[]): Promise<void> {
  if (await exists(join(folder, "gate_config.json"))) return;
  const part = `gates of ${task.name}`;
  job.onPart?.(part);
  const options = { ...common(job, task.name), steps: RECIPE.gateSteps, saveEvery: 50 };
  await trainGate({
    ...base(job),
    training: asPairs(training),
    expert: folder,
    run: join(job.out, "runs", `${task.name}-gates`),
    hooks: hooks(job, part),
    options,
  });
}

/** Trains one LoRA into `folder`, unless it exists. */
export async function lora(
  job: ExpertsJob,
  name: string,
  folder: string,
  training: readonly Example[],
  steps: number,
  validation: readonly Example[] = [],
): Promise<void> {
  if (await exists(join(folder, "README.md"))) return;
  const part = name === "multitask" ? "multitask LoRA" : `expert ${name}`;
  job.onPart?.(part);
  const options = { ...common(job, name), steps, validateEvery: 50, saveEvery: 50 };
  const run = join(job.out, "runs", name);
  await trainExpert({
    ...base(job),
    base: job.baseName,
    training: asPairs(training),
    validation: asPairs(validation),
    out: folder,
    run,
    hooks: hooks(job, part),
    options,
  });
}

const base = ({ model, tokenizer }: ExpertsJob) => ({ model, tokenizer });
const common = ({ seed }: ExpertsJob, name: string) => ({
  batchSize: RECIPE.batchSize,
  microBatchSize: RECIPE.batchSize,
  seed: derivedSeed(seed, name),
});

function hooks({ signal, onPart }: ExpertsJob, part: string): LoopHooks {
  return { ...(signal ? { signal } : {}), onProgress: (progress) => onPart?.(part, progress) };
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
