/** @file Ctrl-C for commands that run long: the first asks them to save and stop, the second stops at once. */

import { stopped } from "../base/stopped.ts";
import type { Io } from "./io.ts";

const STOPPED = 130; // what shells expect of a process that Ctrl-C ended

/** Runs `work` with a signal that Ctrl-C (or a polite kill) aborts. Work that gives the signal's own reason as its error has saved
 *  nothing to go on from. */
export async function interruptible<T>(io: Io, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const stop = () => {
    if (controller.signal.aborted) process.exit(STOPPED);
    io.err("\nStopping at the next safe place; once more to stop at once.\n");
    controller.abort();
  };
  process.on("SIGINT", stop).on("SIGTERM", stop);
  try {
    return await work(controller.signal);
  } catch (error) {
    if (!controller.signal.aborted || error !== controller.signal.reason) throw error;
    throw stopped({ work: "work", cause: error });
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop);
  }
}
