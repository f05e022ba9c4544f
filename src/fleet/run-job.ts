/** @file Does one job in this process. A job that was stopped, or killed, goes on where its folder says. */

import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { invariant } from "../base/errors.ts";
import { derivedSeed, seededRandom, shuffled } from "../base/random.ts";
import { throwIfStopped } from "../base/stopped.ts";
import { writeFileAtomically } from "../checkpoint/atomic.ts";
import { createMoaPool } from "../inference/moa-pool.ts";
import { loadModel } from "../library/model.ts";
import { exists } from "../storage/files.ts";
import { loadAdapter } from "../storage/peft.ts";
import type { LoopHooks, Progress } from "../training/loop.ts";
import { gatherStatistics } from "../training/statistics.ts";
import { trainExpert, trainGate } from "../training/train.ts";
import { trainMoa } from "../training/train-moa.ts";
import { runEvaluation } from "./evaluation-job.ts";
import { expertExamples } from "./expert-data.ts";
import {
  DONE_FILE,
  doneBefore,
  type ExpertJob,
  JOB_FILE,
  type Job,
  type JobHooks,
  type JobResult,
  type MeasureJob,
  type MoaJob,
  type Outcome,
} from "./job.ts";
import { takeLock } from "./lock.ts";
import { measuredStep } from "./measure.ts";
import type { ExpertPlan } from "./recipe-file.ts";

const OWNER_WAIT = 120_000; // ms that a process of a farm that was killed may take to notice

/** Does the job of a folder, unless it is done. */
export async function runJob(folder: string, hooks: JobHooks = {}): Promise<JobResult> {
  const job = JSON.parse(await readFile(join(folder, JOB_FILE), "utf8")) as Job;
  const release = await takeLock(join(folder, "lock"), { wait: OWNER_WAIT });
  try {
    const known = await doneBefore(folder);
    if (known) return known;
    const start = performance.now();
    const outcome = await work(job, folder, hooks);
    const result = { ...outcome, seconds: (performance.now() - start) / 1000, peakBytes: 1024 * process.resourceUsage().maxRSS };
    await writeFileAtomically(join(folder, DONE_FILE), `${JSON.stringify(result)}\n`);
    return result;
  } finally {
    await release();
  }
}

async function work(job: Job, folder: string, hooks: JobHooks): Promise<Outcome> {
  hooks.onProgress?.({ stage: "loading" });
  switch (job.kind) {
    case "expert":
      return makeExpert(job, folder, hooks);
    case "moa":
      return makeMoa(job, folder, hooks);
    case "evaluation":
      return runEvaluation(job, hooks);
    case "measure":
      return measure(job, hooks);
  }
}

/** Adapter, gates and statistics, each noted when it is whole. */
async function makeExpert(job: ExpertJob, folder: string, hooks: JobHooks): Promise<Outcome> {
  const { expert, name, base, baseName } = job;
  await using model = await loadModel(base, hooks.onWarning && { onWarning: hooks.onWarning });
  const tokenizer = await model.tokenizer();
  hooks.onProgress?.({ stage: "data" });
  const { training, validation } = await bothOf(expert, job, hooks);
  throwIfStopped(hooks.signal, "training");
  const out = join(folder, name);
  const setting = { model, tokenizer, ...(hooks.onWarning && { onWarning: hooks.onWarning }) };
  const parts = await stages(folder);
  let loss: number | undefined;
  const run = (part: string) => join(folder, "runs", part);
  await parts.once("expert", async () => {
    const told = stageHooks("expert", hooks, (progress) => {
      loss = progress.loss;
    });
    const data = describeSource(expert);
    await trainExpert({
      ...setting,
      training,
      validation,
      out,
      run: run(name),
      base: baseName,
      data,
      options: expert.training,
      hooks: told,
    });
  });
  const { gates, statistics } = expert;
  if (gates) {
    await parts.once("gates", async () => {
      await trainGate({ ...setting, training, expert: out, run: run(`${name}-gates`), options: gates, hooks: stageHooks("gates", hooks) });
    });
  }
  throwIfStopped(hooks.signal, "training");
  if (statistics) {
    await parts.once("statistics", async () => {
      hooks.onProgress?.({ stage: "statistics" });
      const { examples = training.length, ...options } = statistics;
      await gatherStatistics({ ...setting, expert: out, examples: training.slice(0, examples), ...options });
    });
  }
  return loss === undefined ? {} : { loss };
}

/** What is done in this folder: a file that grows by a name with each part. */
async function stages(folder: string) {
  const path = join(folder, "stages.json");
  const done: string[] = (await exists(path)) ? (JSON.parse(await readFile(path, "utf8")) as string[]) : [];
  return {
    async once(part: string, make: () => Promise<void>): Promise<void> {
      if (done.includes(part)) return;
      await make();
      done.push(part);
      await writeFileAtomically(path, `${JSON.stringify(done)}\n`);
    },
  };
}

function stageHooks(stage: string, { onProgress, signal }: JobHooks, also: (progress: Progress) => void = () => {}): LoopHooks {
  return {
    ...(signal && { signal }),
    onProgress: (progress) => {
      also(progress);
      onProgress?.({ stage, ...progress });
    },
  };
}

/** What an expert learns from, and what it is selected by. */
async function bothOf(expert: ExpertPlan, job: { readonly dataFolder: string }, hooks: JobHooks) {
  const all = await examplesOf(expert, "training", job, hooks);
  const validation = await examplesOf(expert, "validation", job, hooks);
  const { holdout } = expert;
  if (holdout === undefined) return { training: all, validation };
  const mixed = shuffled(all, seededRandom(derivedSeed("holdout", expert.seed)));
  const aside = Math.min(holdout, Math.floor(all.length / 2));
  return { training: mixed.slice(aside), validation: [...validation, ...mixed.slice(0, aside)] };
}

/** The examples that an expert learns from, or is selected by. */
async function examplesOf(
  expert: ExpertPlan,
  use: "training" | "validation",
  { dataFolder }: { readonly dataFolder: string },
  hooks: JobHooks,
) {
  const source = use === "training" ? expert.source : expert.validation;
  if (!source) return [];
  const { seed, where } = expert;
  return expertExamples(source, use, { dataFolder, seed, where, ...(hooks.onWarning && { onWarning: hooks.onWarning }) });
}

/** A source in a few words, for the expert's card. */
export function describeSource({ source }: Pick<ExpertPlan, "source">): string {
  const { files, dataset, config, demo } = source;
  if (demo !== undefined) return `the demo's task ${demo}`;
  return files
    ? files.map((path) => path.split(/[\\/]/).at(-1)).join(", ")
    : [dataset, config].filter((part) => part !== undefined).join(", ");
}

/** Routers over the experts, which go on learning with them: the second stage of Mixture-of-LoRAs. */
async function makeMoa(job: MoaJob, folder: string, hooks: JobHooks): Promise<Outcome> {
  await using model = await loadModel(job.base, hooks.onWarning && { onWarning: hooks.onWarning });
  const fingerprint = await model.base.fingerprint();
  const domains = [];
  for (const { plan, folder: place } of job.experts) {
    const adapter = await loadAdapter(place, model.base.modules, { fingerprint });
    invariant(adapter.kind === "lora", "an expert of a Mixture-of-LoRAs recipe is a LoRA");
    domains.push({ name: plan.name, adapter, ...(await bothOf(plan, job, hooks)) });
  }
  let loss: number | undefined;
  const told = stageHooks("routers", hooks, (progress) => {
    loss = progress.loss;
  });
  const setting = { model, tokenizer: await model.tokenizer(), run: join(folder, "runs", "routers"), hooks: told };
  const trained = await trainMoa({ ...setting, domains, options: job.options ?? {}, expert: job.experts[0]!.plan.training });
  await rm(join(folder, "pool"), { recursive: true, force: true }); // what a killed process left
  await createMoaPool(join(folder, "pool"), model, job.baseName, trained.moa, trained.adapters);
  return loss === undefined ? {} : { loss };
}

async function measure(job: MeasureJob, hooks: JobHooks): Promise<Outcome> {
  await using model = await loadModel(job.base);
  return measuredStep(model, job.expert, () => examplesOf(job.expert, "training", job, hooks));
}
