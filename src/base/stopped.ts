/** @file The error of stopped work: generation, training, evaluation, judging. */

import { StoppedError } from "./errors.ts";

export interface Interruption {
  readonly work: "generation" | "training" | "evaluation" | "judging" | "work";
  /** The parts done, their total number, and the name of a part: "steps". */
  readonly done?: number;
  readonly total?: number;
  readonly parts?: string;
  /** The folder or file with the finished parts; absent if nothing is kept. */
  readonly kept?: string | undefined;
  /** The option for a folder, with which the work could be resumed. */
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

/** Throws if the signal was aborted. */
export function throwIfStopped(signal: AbortSignal | undefined, work: Interruption["work"]): void {
  if (signal?.aborted) throw stopped({ work, cause: signal.reason });
}
