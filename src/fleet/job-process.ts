/** @file A job in a process of its own: the engine blocks the thread that it computes on, and a job that dies takes nothing with it.
 *
 *  The parent starts a program with the job's folder as its last argument; the program calls `serveJob`. They talk over Node's channel:
 *  the child sends progress, warnings, and its result or problem; the parent sends "stop". A child whose parent is gone stops too. */

import { fork } from "node:child_process";
import type { ErrorCode } from "../base/error-codes.ts";
import { TrainingError, UserError } from "../base/errors.ts";
import type { Device } from "../runtime/engine.ts";
import type { JobHooks, JobProgress, JobResult } from "./job.ts";
import { runJob } from "./run-job.ts";

/** The program that does one job: a JavaScript file and the arguments before the job's folder. */
export interface JobProgram {
  readonly file: string;
  readonly args: readonly string[];
  /** The device that its jobs compute on. Default: the one that the environment variable SKEIN_DEVICE names, else the CPU. */
  readonly device?: Device | undefined;
}

/** A problem as it crosses to another process. */
export interface JobProblem {
  readonly name: string;
  readonly code: ErrorCode;
  readonly what: string;
  readonly where?: string | undefined;
  readonly fix: string;
  readonly data?: UserError["data"] | undefined;
}

type Message =
  | { readonly progress: JobProgress }
  | { readonly warning: string }
  | { readonly done: JobResult }
  | { readonly problem: JobProblem };

export interface StartOptions extends JobHooks {
  /** Default: that of this process. */
  readonly env?: NodeJS.ProcessEnv;
  readonly threads: number;
}

const KEPT_ERRORS = 4000; // characters of what the process says last

/** Runs a folder's job in a child process. Rejects with JobFailure. */
export function startJob(
  { file, args, device }: JobProgram,
  folder: string,
  { threads, onProgress, onWarning, signal, env = process.env }: StartOptions,
): Promise<JobResult> {
  // A group of its own: Ctrl-C reaches the parent alone, which asks its children to stop once.
  const child = fork(file, [...args, folder], {
    detached: true,
    stdio: ["ignore", "ignore", "pipe", "ipc"],
    env: { ...env, SKEIN_THREADS: String(threads), ...(device !== undefined && { SKEIN_DEVICE: device }) },
  });
  let said = "";
  child.stderr!.setEncoding("utf8").on("data", (text: string) => {
    said = (said + text).slice(-KEPT_ERRORS);
  });
  const stop = () => void (child.connected && child.send("stop"));
  signal?.addEventListener("abort", stop);
  if (signal?.aborted) stop();
  return new Promise<JobResult>((done, failed) => {
    let last: Message | undefined;
    child.on("message", (message: Message) => {
      if ("progress" in message) onProgress?.(message.progress);
      else if ("warning" in message) onWarning?.(message.warning);
      else last = message;
    });
    child.on("error", (cause) => failed(new JobFailure(deathOf(String(cause), said), false)));
    child.on("close", (code, ended) => {
      if (last && "done" in last) done(last.done);
      else if (last && "problem" in last) failed(new JobFailure(last.problem, false));
      else failed(new JobFailure(deathOf(ended ? `by signal ${ended}` : `with code ${code}`, said), true));
    });
  }).finally(() => signal?.removeEventListener("abort", stop));
}

/** Why a job was not done. */
export class JobFailure extends Error {
  readonly problem: JobProblem;
  /** Whether the process died, rather than that it found a problem: another try may do. */
  readonly died: boolean;

  constructor(problem: JobProblem, died: boolean) {
    super(problem.what);
    this.problem = problem;
    this.died = died;
  }
}

function deathOf(how: string, said: string): JobProblem {
  const memory = /SIGKILL/.test(how) ? " The system ends processes so when memory runs out." : "";
  const tail = said.trim() === "" ? "" : ` It said last: ${said.trim().slice(-600)}`;
  const error = new TrainingError({
    code: "job-died",
    what: `The job's process ended ${how} before the job was done.${memory}${tail}`,
    fix: "Run the same again to go on from its last saved state; with fewer workers or smaller micro-batches where memory is short.",
  });
  return problemOf(error);
}

/** The problem of a job that somebody cancelled on the queue. */
export function cancelled(job: string): JobProblem {
  const what = "It was cancelled on the queue.";
  return problemOf(new TrainingError({ code: "job-cancelled", data: { known: [job] }, what, fix: "Run the farm again to take it up." }));
}

/** An error as it crosses to another process. */
export function problemOf({ name, code, what, where, fix, data }: UserError): JobProblem {
  return { name, code, what, where, fix, data };
}

/** The error that another process had. */
export function errorOf({ name: _, ...problem }: JobProblem): UserError {
  return new UserError(problem);
}

/** Does the job of `folder` for the process that started this one, and ends. A program for `JobProgram` calls it with its last argument.
 *  @throws Error for a bug in Skein; a problem of the job goes to the other process. */
export async function serveJob(folder: string): Promise<void> {
  const controller = new AbortController();
  const stop = () => controller.abort();
  process.on("message", stop).on("disconnect", stop).on("SIGINT", stop).on("SIGTERM", stop);
  const send = (message: Message) => (process.connected ? new Promise((sent) => process.send!(message, sent)) : undefined);
  try {
    const hooks: JobHooks = {
      signal: controller.signal,
      onProgress: (progress) => void send({ progress }),
      onWarning: (warning) => void send({ warning }),
    };
    await send({ done: await runJob(folder, hooks) });
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    await send({ problem: problemOf(error) });
  } finally {
    process.off("message", stop).off("disconnect", stop).off("SIGINT", stop).off("SIGTERM", stop);
    if (process.connected) process.disconnect();
  }
}
