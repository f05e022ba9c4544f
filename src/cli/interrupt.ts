/** @file Ctrl-C for long commands: the first one lets them save and stop, the second one stops immediately. */

import { stopped } from "../base/stopped.ts";
import type { Io } from "./io.ts";

const STOPPED = 130; // the exit code that shells expect after Ctrl-C

/** Runs `work` with a signal that Ctrl-C (or SIGTERM) aborts. If work throws the signal's own reason, it has saved
 *  nothing to resume from. */
export async function interruptible<T>(io: Io, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const stop = () => {
    if (controller.signal.aborted) process.exit(STOPPED);
    io.err("\nStopping at the next safe place. Press again to stop immediately.\n");
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
