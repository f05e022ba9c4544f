/** @file One job that a worker has taken from the queue: fetch what it needs and what another machine left of it, run it in a child
 *  process, save its state to the store as it goes, publish its result. */

import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { UserError } from "../base/errors.ts";
import { makeFolder, writeFileAtomically } from "../checkpoint/atomic.ts";
import { JOB_FILE, type JobProgress, type JobResult } from "./job.ts";
import { cancelled, JobFailure, type JobProblem, type JobProgram, problemOf, startJob } from "./job-process.ts";
import { TRIES } from "./local-crew.ts";
import { isPassing, persistently } from "./persist.ts";
import { unpacked } from "./portable-job.ts";
import { isLost, type TakenJob } from "./queue/farm-queue.ts";
import { publish, published, restoreState, stateSaver } from "./results.ts";
import type { Store } from "./store/store.ts";

export interface RemoteSetting {
  readonly store: Store;
  readonly program: JobProgram;
  /** Host and process. */
  readonly worker: string;
  readonly threads: number;
  /** Seconds that a job is this worker's without a word, and seconds between states. */
  readonly lease: number;
  readonly saveEvery: number;
  readonly dataFolder?: string | undefined;
  /** The folder of jobs. */
  readonly work: string;
  readonly baseFolder: (base: TakenJob["data"]["base"]) => Promise<string>;
  readonly treeFolder: (name: string) => Promise<string>;
  readonly signal?: AbortSignal | undefined;
  readonly onWarning?: ((message: string) => void) | undefined;
}

/** How a taken job ended on this worker. */
export type Ending = "done" | "failed" | "given back" | "lost";

const REPORT_EVERY = 1000; // ms

export async function runTaken(taken: TakenJob, setting: RemoteSetting): Promise<Ending> {
  const { store } = setting;
  const { key, name } = taken.data;
  const folder = join(setting.work, `${name.replace(/[^\w.-]+/g, "_")}-${key.slice(0, 16)}`);
  const ending = new AbortController();
  const onStop = () => ending.abort("given back");
  setting.signal?.addEventListener("abort", onStop);
  if (setting.signal?.aborted) onStop();
  const finished = new AbortController();
  const keeping = keep(taken, setting, ending, finished.signal);
  const options = { signal: ending.signal, onWarning: (message: string) => setting.onWarning?.(`${name}: ${message}`) };
  try {
    if (taken.data.cancelled) ending.abort("cancelled");
    if (!(await persistently(() => published(store, key), options))) await make(taken, folder, setting, ending.signal);
    return await closing(() => taken.done(), "done", options);
  } catch (error) {
    return await unfinished(taken, error, setting, ending.signal);
  } finally {
    finished.abort();
    await keeping;
    setting.signal?.removeEventListener("abort", onStop);
    await rm(folder, { recursive: true, force: true });
  }
}

/** Makes the result of a job and publishes it. Aborting leaves the last state in the store. */
async function make(taken: TakenJob, folder: string, setting: RemoteSetting, signal: AbortSignal): Promise<void> {
  const { store, onWarning } = setting;
  const { key, version, name, base } = taken.data;
  const options = { signal, onWarning: (message: string) => onWarning?.(`${name}: ${message}`) };
  const report = reporter(taken, setting);
  report({ stage: "fetching" });
  await makeFolder(folder);
  const local = await setting.baseFolder(base);
  const isResumed = await persistently(() => restoreState(store, key, folder), options);
  if (isResumed) options.onWarning("it goes on from what another worker saved.");
  const { dataFolder, treeFolder } = setting;
  const job = await persistently(() => unpacked(taken.data, { base: local, dataFolder, folder, treeFolder }), options);
  await writeFileAtomically(join(folder, JOB_FILE), `${JSON.stringify(job, null, 2)}\n`);
  const save = stateSaver(store, key, folder);
  const over = new AbortController();
  const saving = saveRegularly(save, setting.saveEvery, over.signal, options.onWarning);
  let result: JobResult;
  try {
    result = await withTries(() => {
      const onProgress = (progress: JobProgress) => report(progress);
      return startJob(setting.program, folder, {
        threads: setting.threads,
        signal,
        onProgress,
        onWarning: options.onWarning,
        env: jobEnvironment(),
      });
    }, signal);
  } catch (error) {
    over.abort();
    await saving;
    if (signal.reason === "given back") await save().catch((problem) => options.onWarning(String(problem)));
    throw error;
  }
  over.abort();
  await saving;
  report({ stage: "publishing" });
  await persistently(() => publish(store, key, folder, { version, result }), options);
}

/** The job's process needs neither the queue nor the store. */
function jobEnvironment(): NodeJS.ProcessEnv {
  const isSecret = (name: string) => /^(SKEIN_QUEUE|SKEIN_STORE|PGPASSWORD)$|^AWS_/.test(name);
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !isSecret(name)));
}

async function withTries(run: () => Promise<JobResult>, signal: AbortSignal): Promise<JobResult> {
  for (let tries = 1; ; tries++) {
    try {
      return await run();
    } catch (error) {
      if (!(error instanceof JobFailure) || !error.died || tries >= TRIES || signal.aborted) throw error;
    }
  }
}

/** Says to the queue that this worker lives, until the job is over. A job that is lost or cancelled is ended. */
async function keep(taken: TakenJob, { lease }: RemoteSetting, ending: AbortController, finished: AbortSignal): Promise<void> {
  const over = new Promise<"over">((end) => finished.addEventListener("abort", () => end("over"), { once: true }));
  const asked = () =>
    taken.keep().catch((error: unknown) => {
      if (isPassing(error)) return "away" as const;
      throw error;
    });
  while (!finished.aborted) {
    await sleep((lease * 1000) / 3, undefined, { signal: finished }).catch(() => undefined); // over
    const kept = finished.aborted ? "over" : await Promise.race([asked(), over]);
    if (kept === "lost" || kept === "cancelled") ending.abort(kept);
  }
}

async function saveRegularly(save: () => Promise<void>, every: number, over: AbortSignal, warn: (message: string) => void): Promise<void> {
  while (!over.aborted) {
    await sleep(every * 1000, undefined, { signal: over }).catch(() => undefined); // over
    if (over.aborted) return;
    await save().catch((error: unknown) => {
      if (!(error instanceof UserError)) throw error;
      warn(`its state was not saved: ${error.what}`);
    });
  }
}

/** Tells the queue how far a job is, not more often than somebody can read; a new stage at once. */
function reporter(taken: TakenJob, { worker }: RemoteSetting): (progress: JobProgress) => void {
  let last = Number.NEGATIVE_INFINITY;
  let stage = "";
  return (progress) => {
    const now = performance.now();
    if (progress.stage === stage && now - last < REPORT_EVERY) return;
    [last, stage] = [now, progress.stage];
    taken.report({ worker, ...progress }).catch(() => undefined); // only shown: the next one may arrive
  };
}

/** A job that did not come to its end here: stopped, lost, cancelled, or with a problem of its own. */
async function unfinished(taken: TakenJob, error: unknown, setting: RemoteSetting, signal: AbortSignal): Promise<Ending> {
  const { worker } = setting;
  const fail = (problem: JobProblem) => closing(() => taken.failed(problem, { worker }), "failed", setting);
  if (signal.reason === "cancelled") return fail(cancelled(taken.data.name));
  if (signal.aborted) return signal.reason === "lost" ? "lost" : closing(() => taken.release(), "given back", setting);
  if (error instanceof JobFailure) return fail(error.problem);
  if (error instanceof UserError && !MACHINE.includes(error.code)) return fail(problemOf(error));
  await closing(() => taken.release(), "given back", setting);
  throw error;
}

/** Problems of this machine: another may do the job. */
const MACHINE: readonly string[] = ["worker-base-differs", "store-refused", "output-failed"];
const LAST_WORD = 5000; // ms that a stopping worker waits for a queue that is away

/** Tells the queue how a job ended. A queue that gave the job to another worker meanwhile does not mind. */
async function closing(tell: () => Promise<void>, as: Ending, { signal, onWarning }: Pick<RemoteSetting, "signal" | "onWarning">) {
  const told = persistently(tell, { signal, onWarning }).then(
    () => as,
    (error: unknown): Ending => {
      if (isLost(error)) return as === "done" ? "done" : "lost";
      if (signal?.aborted) return "lost";
      throw error;
    },
  );
  const aborted = new Promise<void>((stop) => {
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", () => stop(), { once: true });
  });
  const late = aborted.then(() => sleep(LAST_WORD, "lost" as const, { ref: false }));
  return Promise.race([told, late]);
}
