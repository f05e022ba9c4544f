/** @file Who does a farm's jobs: child processes of this machine, or workers that take them from a queue. Either way each job ends in its
 *  folder, with done.json. */

import type { JobKind, JobProgress, Keyed } from "./job.ts";
import type { JobProblem, JobProgram } from "./job-process.ts";

/** What became of a job, or how far it is. */
export interface FarmEvent extends Partial<JobProgress> {
  readonly job: string;
  readonly kind: JobKind;
  /** kept: it was done before. */
  readonly state: "waiting" | "running" | "done" | "kept" | "failed" | "stopped";
  readonly seconds?: number;
  readonly problem?: JobProblem;
  /** On several machines: who has it. */
  readonly worker?: string;
}
/** How an expert of a farm ended: made now, made before, or failed with a problem. */
export interface FarmedExpert {
  readonly name: string;
  readonly key: string;
  readonly state: "done" | "kept" | "failed";
  readonly seconds?: number;
  readonly problem?: JobProblem;
}

/** Where a farm makes its pool, with which program, and whom it tells. */
export interface CrewOptions {
  /** Folder of the pool. */
  readonly out: string;
  /** The program that does one job in a process of its own: it calls `serveJob` with its last argument. */
  readonly program: JobProgram;
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: FarmEvent) => void;
  readonly onWarning?: (message: string) => void;
}

export interface Crew {
  /** Jobs side by side on this machine; 0 where others do them. */
  readonly workers: number;
  /** Whether an evaluation has a job for each task, or one for all. */
  readonly splitsTasks: boolean;
  /** Does these jobs; in the end each has an outcome. */
  run(jobs: readonly Keyed[]): Promise<FarmedExpert[]>;
  close(): Promise<void>;
}
