/** @file What a person asks of the jobs on a queue: how they are, to cancel them, to try them again. */

import { closestNames } from "../adapters/modules.ts";
import { OptionError } from "../base/errors.ts";
import type { JobProblem } from "./job-process.ts";
import type { FarmQueue, QueuedJob } from "./queue/farm-queue.ts";

/** Which jobs: of a farm, of these names; without either, all. */
export interface JobChoice {
  readonly farm?: string | undefined;
  readonly jobs?: readonly string[] | undefined;
}

/** A job on a queue: who has it, and how far it is. */
export interface JobStatus {
  readonly farm: string;
  readonly job: string;
  readonly kind: string;
  readonly state: QueuedJob["state"];
  readonly label?: string;
  readonly worker?: string;
  readonly stage?: string;
  readonly step?: number;
  readonly steps?: number;
  readonly loss?: number;
  readonly secondsLeft?: number;
  /** Workers that ended without a word while they had it. */
  readonly deaths: number;
  readonly problem?: JobProblem;
}

const ORDER: readonly QueuedJob["state"][] = ["failed", "running", "waiting", "cancelled", "done"];

/** The chosen jobs, those that need somebody first.
 *  @throws OptionError when the queue has no such farm or job. */
export async function jobStatus(queue: FarmQueue, choice: JobChoice = {}): Promise<JobStatus[]> {
  const found = await chosen(queue, choice);
  const sorted = found.sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state) || (nameIn(a) < nameIn(b) ? -1 : 1));
  return sorted.map(statusOf);
}

const nameIn = ({ data: { farm, name } }: QueuedJob) => `${farm} ${name}`;

function statusOf({ data: { farm, name, kind, label }, state, report, deaths }: QueuedJob): JobStatus {
  const { worker, stage, step, steps, loss, secondsLeft, problem } = report;
  const isRunning = state === "running";
  return {
    farm,
    job: name,
    kind,
    state,
    ...(label !== undefined && { label }),
    ...(worker !== undefined && state !== "waiting" && { worker }),
    ...(isRunning && stage !== undefined && { stage }),
    ...(isRunning && step !== undefined && { step, ...(steps !== undefined && { steps }) }),
    ...(isRunning && secondsLeft !== undefined && { secondsLeft }),
    ...(loss !== undefined && { loss }),
    deaths,
    ...(state === "failed" && problem && { problem }),
  };
}

/** Cancels the chosen jobs that are not over: a running one is ended by its worker. Gives their names.
 *  @throws OptionError when the queue has no such farm or job. */
export function cancelJobs(queue: FarmQueue, choice: JobChoice): Promise<string[]> {
  return each(queue, choice, ["waiting", "running"], (job) => queue.cancel(job));
}

/** Puts the chosen jobs that failed or were cancelled among the waiting ones again. Gives their names.
 *  @throws OptionError when the queue has no such farm or job. */
export function retryJobs(queue: FarmQueue, choice: JobChoice): Promise<string[]> {
  return each(queue, choice, ["failed", "cancelled"], (job) => queue.again(job));
}

async function each(queue: FarmQueue, choice: JobChoice, states: readonly QueuedJob["state"][], act: (job: QueuedJob) => Promise<void>) {
  const found = (await chosen(queue, choice)).filter(({ state }) => states.includes(state));
  for (const job of found) await act(job);
  return found.map(({ data: { name } }) => name);
}

async function chosen(queue: FarmQueue, { farm, jobs = [] }: JobChoice): Promise<QueuedJob[]> {
  const all = await queue.all();
  const own = all.filter(({ data }) => farm === undefined || data.farm === farm);
  if (farm !== undefined && own.length === 0) throw unknown("farm", farm, [...new Set(all.map(({ data }) => data.farm))], queue);
  for (const job of jobs) {
    if (!own.some(({ data }) => data.name === job))
      throw unknown(
        "job",
        job,
        own.map(({ data }) => data.name),
        queue,
      );
  }
  return jobs.length === 0 ? own : own.filter(({ data }) => jobs.includes(data.name));
}

function unknown(kind: string, name: string, known: readonly string[], { place }: FarmQueue): OptionError {
  const nearest = closestNames(name, known);
  return new OptionError({
    code: "option-unknown-value",
    data: { option: kind, got: name, known: nearest },
    what: `The queue has no ${kind} "${name}".`,
    where: place,
    fix: nearest.length > 0 ? `Nearest: ${nearest.join(", ")}.` : "List the jobs of the queue to see their names.",
  });
}
