/** @file A crew of child processes on this machine, as many side by side as cores and memory allow. */

import { availableParallelism } from "node:os";
import { join } from "node:path";
import { stopped } from "../base/stopped.ts";
import { makeFolder, writeFileAtomically } from "../checkpoint/atomic.ts";
import type { Crew, CrewOptions, FarmEvent, FarmedExpert } from "./crew.ts";
import { fittingWorkers } from "./estimate.ts";
import { doneBefore, JOB_FILE, type JobResult, type Keyed } from "./job.ts";
import { JobFailure, startJob } from "./job-process.ts";

export interface LocalOptions extends CrewOptions {
  /** Jobs side by side. Default: as many as cores and memory allow. */
  readonly workers?: number | undefined;
  /** Of one job. */
  readonly bytes: number;
  /** How many jobs there are at most. */
  readonly count: number;
}

export function localCrew({ bytes, count, ...options }: LocalOptions): Crew {
  const { signal, out } = options;
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
      throw stopped({ work: "work", done, total: jobs.length, parts: "jobs", kept: `${out}.farm` });
    }
    return results;
  };
  return { workers, splitsTasks: false, run, close: async () => undefined };
}

export const TRIES = 2; // of a process that dies

async function doJob({ job, key, folder }: Keyed, options: CrewOptions & { readonly threads: number }): Promise<FarmedExpert> {
  const { program, threads, signal, onEvent, onWarning } = options;
  const { name, kind } = job;
  const tell = (event: Omit<FarmEvent, "job" | "kind">) => onEvent?.({ job: name, kind, ...event });
  const known = await doneBefore(folder);
  if (known) {
    tell({ state: "kept", ...told(known) });
    return { name, key, state: "kept", seconds: known.seconds };
  }
  await makeFolder(folder);
  await writeFileAtomically(join(folder, JOB_FILE), `${JSON.stringify(job, null, 2)}\n`);
  tell({ state: "running", stage: "starting" });
  for (let tries = 1; ; tries++) {
    try {
      const result = await startJob(program, folder, {
        threads,
        ...(signal && { signal }),
        onProgress: (progress) => tell({ state: "running", ...progress }),
        onWarning: (warning) => onWarning?.(`${name}: ${warning}`),
      });
      tell({ state: "done", ...told(result) });
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

/** What a table shows of a result. */
export function told({ seconds, loss }: JobResult): Pick<FarmEvent, "seconds" | "loss"> {
  return { seconds, ...(loss !== undefined && { loss }) };
}
