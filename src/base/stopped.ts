/** @file The one error of work that somebody asked to stop: generation, training, evaluation, judging. */

import { StoppedError } from "./errors.ts";

export interface Interruption {
  readonly work: "generation" | "training" | "evaluation" | "judging" | "work";
  /** Parts done and all of them, and what a part is called: "steps". */
  readonly done?: number;
  readonly total?: number;
  readonly parts?: string;
  /** The folder or file that keeps what is done; absent: nothing is kept. */
  readonly kept?: string | undefined;
  /** What to name so that it can go on the next time: an option that takes a folder. */
  readonly option?: string;
  readonly cause?: unknown;
}

export function stopped({ work, done, total, parts = "parts", kept, option, cause }: Interruption): StoppedError {
  const again = option === undefined ? "Call it again; it starts anew." : `Give \`${option}\`, a folder, to be able to go on another time.`;
  return new StoppedError({
    code: "stopped",
    data: { work, resumable: kept !== undefined, ...(done !== undefined && { done }), ...(total !== undefined && { total }) },
    what: done === undefined ? `Stopped before the ${work} was done.` : `Stopped after ${done} of ${total} ${parts}.`,
    where: kept,
    fix: kept === undefined ? again : "Call it again with the same arguments to go on from here.",
    cause,
  });
}

/** Ends work whose signal was aborted. */
export function throwIfStopped(signal: AbortSignal | undefined, work: Interruption["work"]): void {
  if (signal?.aborted) throw stopped({ work, cause: signal.reason });
}
