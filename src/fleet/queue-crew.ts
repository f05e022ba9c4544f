/** @file A crew of workers on any machines: jobs go to a queue, results come back through the store into the folders that a local farm
 *  would have made. What the store has is done, whatever the queue says; a queue that lost its jobs gets them again. */

import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { TrainingError } from "../base/errors.ts";
import { stopped } from "../base/stopped.ts";
import { makeFolder, writeFileAtomically } from "../checkpoint/atomic.ts";
import type { Crew, CrewOptions, FarmEvent, FarmedExpert } from "./crew.ts";
import { DONE_FILE, doneBefore, JOB_FILE, type JobResult, type Keyed } from "./job.ts";
import { cancelled, type JobProblem, problemOf } from "./job-process.ts";
import { told } from "./local-crew.ts";
import { persistently } from "./persist.ts";
import { type PortableJob, packed } from "./portable-job.ts";
import type { FarmQueue } from "./queue/farm-queue.ts";
import { fetchPublished, published } from "./results.ts";
import type { Store } from "./store/store.ts";

export interface QueueCrewOptions extends CrewOptions {
  readonly queue: FarmQueue;
  readonly store: Store;
  /** The recipe's name. */
  readonly farm: string;
  readonly base: PortableJob["base"];
  /** The label of a job. */
  readonly labelOf: (job: Keyed["job"]) => string | undefined;
}

const POLL = 500; // ms between looks at the queue
const LONELY = 20_000; // ms after which a farm says that nobody works

export function queueCrew(options: QueueCrewOptions): Crew {
  const { queue, store, signal } = options;
  const run = async (jobs: readonly Keyed[]): Promise<FarmedExpert[]> => {
    const results = new Map<Keyed, FarmedExpert>();
    const open = new Map<Keyed, PortableJob>();
    const isSettled = async (job: Keyed): Promise<boolean> => {
      const result = await finished(job, options);
      if (result) results.set(job, result);
      return result !== undefined;
    };
    for (const job of jobs) {
      if (await isSettled(job)) continue;
      const portable = await persistently(() => packed(job, { ...options, label: options.labelOf(job.job) }), options);
      await enqueue(queue, portable, options);
      open.set(job, portable);
    }
    const lonely = loneliness(options);
    while (open.size > 0) {
      if (signal?.aborted) throw left(results.size, jobs.length, options.out);
      let busy = 0;
      for (const [job, portable] of open) {
        const outcome = await look(job, portable, options);
        if (outcome === "running") busy++;
        if (typeof outcome !== "string") results.set(job, outcome);
        if (outcome === "published" && !(await isSettled(job))) continue;
        if (outcome === "published" || typeof outcome !== "string") open.delete(job);
      }
      lonely(busy > 0 || open.size === 0);
      if (open.size > 0) await sleep(POLL, undefined, signal && { signal }).catch(() => undefined); // stopped: seen above
    }
    return jobs.map((job) => results.get(job)!);
  };
  return {
    workers: 0,
    splitsTasks: true,
    run,
    async close() {
      await queue.close();
      store.close();
    },
  };
}

/** The result of a job that is done here or anywhere, its files in its folder. */
async function finished({ job, key, folder }: Keyed, options: QueueCrewOptions): Promise<FarmedExpert | undefined> {
  const { store, onEvent } = options;
  const { name, kind } = job;
  const known = await doneBefore(folder);
  const settled = (state: "kept" | "done", result: JobResult): FarmedExpert => {
    onEvent?.({ job: name, kind, state, ...told(result) });
    return { name, key, state, seconds: result.seconds };
  };
  if (known) return settled("kept", known);
  const found = await persistently(() => published(store, key), options);
  if (!found) return undefined;
  await makeFolder(folder);
  await writeFileAtomically(join(folder, JOB_FILE), `${JSON.stringify(job, null, 2)}\n`);
  await persistently(() => fetchPublished(store, found, folder), options);
  await writeFileAtomically(join(folder, DONE_FILE), `${JSON.stringify(found.result)}\n`);
  return settled("done", found.result);
}

/** Puts a job on the queue. One that is over there is put anew: the farm that asked for it may have had other folders. */
async function enqueue(queue: FarmQueue, job: PortableJob, options: QueueCrewOptions): Promise<void> {
  await persistently(async () => {
    const known = await queue.look(job);
    if (known?.state === "running" || (known?.state === "waiting" && known.data.version === job.version)) return;
    if (known) await queue.remove(known).catch(unlessTaken);
    await queue.add(job);
  }, options);
  options.onEvent?.({ job: job.name, kind: job.kind, state: "waiting" });
}

/** A worker may take a job in the moment before it is removed. */
function unlessTaken(error: unknown): void {
  if (!(error instanceof Error) || !/locked by another worker/.test(error.message)) throw error;
}

type Look = FarmedExpert | "waiting" | "running" | "published";

async function look({ job, key }: Keyed, portable: PortableJob, options: QueueCrewOptions): Promise<Look> {
  const { queue, onEvent } = options;
  const { name, kind } = job;
  const seen = await persistently(() => queue.look(portable), options);
  const tell = (event: Omit<FarmEvent, "job" | "kind">) => onEvent?.({ job: name, kind, ...event });
  if (seen?.state === "waiting") return "waiting";
  if (seen?.state === "running") {
    const { problem: _, ...report } = seen.report;
    tell({ state: "running", ...report });
    return "running";
  }
  if (seen && (seen.state === "failed" || seen.state === "cancelled")) {
    const problem = seen.state === "cancelled" ? cancelled(name) : (seen.report.problem ?? diedProblem(seen.deaths));
    tell({ state: "failed", problem });
    return { name, key, state: "failed", problem };
  }
  // Done; or the queue has lost it, and then the store says whether it was done.
  if (await persistently(() => published(options.store, key), options)) return "published";
  await enqueue(queue, portable, options);
  return "waiting";
}

function diedProblem(deaths: number): JobProblem {
  const what = `${deaths} workers ended without a word while they had it.`;
  const fix = "Look at those machines: memory is the usual reason. Then run the farm again.";
  return problemOf(new TrainingError({ code: "job-died", what, fix }));
}

/** Says once when jobs wait and nobody has taken one for a while. */
function loneliness({ onWarning, queue }: QueueCrewOptions): (isBusy: boolean) => void {
  let since = performance.now();
  let isSaid = false;
  return (isBusy) => {
    if (isBusy) since = performance.now();
    else if (!isSaid && performance.now() - since > LONELY) {
      isSaid = true;
      onWarning?.(`No worker has a job of this farm. Start workers on the queue ${queue.place} and the same store.`);
    }
  };
}

function left(done: number, total: number, out: string) {
  return stopped({ work: "work", done, total, parts: "jobs", kept: `${out}.farm` });
}
