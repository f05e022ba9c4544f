/** @file Work that waits while the queue or the store is away or full, and goes on when it is back. */

import { setTimeout as sleep } from "node:timers/promises";
import { UserError } from "../base/errors.ts";
import { isAwayError } from "./queue/farm-queue.ts";

const FIRST_WAIT = 250; // ms
const LONGEST_WAIT = 10_000;
const PASSING: readonly string[] = ["store-unreachable", "store-full", "queue-unreachable"];

export interface PersistOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onWarning?: ((message: string) => void) | undefined;
}

/** What `work` gives, tried again while that may help. Aborting throws the signal's reason. */
export async function persistently<T>(work: () => Promise<T>, { signal, onWarning }: PersistOptions = {}): Promise<T> {
  for (let wait = FIRST_WAIT; ; wait = Math.min(2 * wait, LONGEST_WAIT)) {
    try {
      const value = await work();
      if (wait > FIRST_WAIT) onWarning?.("It goes on.");
      return value;
    } catch (error) {
      if (!isPassing(error)) throw error;
      if (wait === FIRST_WAIT && error instanceof UserError) onWarning?.(`${error.what} (${error.where}) Waiting, then trying again.`);
      await sleep(wait, undefined, signal && { signal });
    }
  }
}

/** Whether a problem may be over in a while. */
export function isPassing(error: unknown): boolean {
  return error instanceof UserError ? PASSING.includes(error.code) : isAwayError(error);
}
