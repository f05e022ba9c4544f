/** @file A lock file that holds the process which has it: two farms never make one pool, and no job runs twice at a time. The lock of a
 *  process that is gone is taken over. */

import { readFile, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { TrainingError } from "../base/errors.ts";
import { codeOf, writing } from "../checkpoint/atomic.ts";

const POLL = 200; // ms

/** Takes the lock, waiting up to `wait` milliseconds for another process to let it go. Gives what lets it go. */
export async function takeLock(path: string, { wait = 0 }: { readonly wait?: number } = {}): Promise<() => Promise<void>> {
  const own = JSON.stringify({ pid: process.pid, host: hostname() });
  for (let left = wait; ; left -= POLL) {
    try {
      await writing(path, () => writeFile(path, own, { flag: "wx" }));
      return () => rm(path, { force: true });
    } catch (error) {
      if (codeOf(error) !== "EEXIST" && !(error instanceof Error && codeOf(error.cause) === "EEXIST")) throw error;
    }
    const owner = await ownerOf(path);
    if (owner === undefined || isGone(owner)) await rm(path, { force: true });
    else if (left <= 0) throw running(path, owner);
    else await sleep(POLL);
  }
}

interface Owner {
  readonly pid: number;
  readonly host: string;
}

async function ownerOf(path: string): Promise<Owner | undefined> {
  try {
    return JSON.parse(await readFile(path, "utf8")) as Owner;
  } catch {
    await sleep(POLL); // being written at this moment, or broken off: the second look decides
    return JSON.parse(await readFile(path, "utf8").catch(() => "null")) ?? undefined;
  }
}

/** Whether the process ended; of another machine nobody knows. */
export function isGone({ pid, host }: Owner): boolean {
  if (host !== hostname()) return false;
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return codeOf(error) === "ESRCH";
  }
}

function running(path: string, { pid, host }: Owner): TrainingError {
  return new TrainingError({
    code: "farm-running",
    data: { folder: path },
    what: `Another process works here: number ${pid} on ${host}.`,
    where: path,
    fix: "Wait for it, or stop it; if that machine is gone, remove this file.",
  });
}
