/** @file Results of methods on tasks, kept in a folder, so that an evaluation goes on where it was stopped.
 *
 *  A file's name holds a hash of everything the result depends on: base, method, task, longest sequence. What changes is
 *  computed anew, what stays is read back. The size of batches is no part of it: it changes no result. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { codeOf, writeFileAtomically } from "../../checkpoint/atomic.ts";
import type { TaskResult } from "../scoring/run-task.ts";
import type { Task } from "../tasks/task.ts";
import { contentHash } from "./methods.ts";

const VERSION = 3; // raised when the same inputs come to give other results

export interface CacheKey {
  readonly base: string;
  readonly method: string;
  readonly task: Task;
  /** Longest sequence in tokens. */
  readonly maxLength: number | undefined;
}

function pathOf(folder: string, { task, ...rest }: CacheKey, label: string): string {
  const filters = task.filters?.map(({ name, apply }) => [name, apply.toString()]);
  const hash = contentHash({ VERSION, ...rest, task: { ...task, filters, clean: task.exactMatchFilter?.toString() } });
  return join(folder, `${label.replace(/[^\w.-]+/g, "-").slice(0, 80)}.${hash}.json`);
}

/** The kept result; undefined when there is none. `label` only makes the file's name readable. */
export async function readCached(folder: string, key: CacheKey, label: string): Promise<TaskResult | undefined> {
  try {
    return JSON.parse(await readFile(pathOf(folder, key, label), "utf8"));
  } catch (error) {
    // A file that is not JSON was not written by us whole: compute again.
    if (codeOf(error) === "ENOENT" || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

export async function writeCached(folder: string, key: CacheKey, label: string, result: TaskResult): Promise<void> {
  await writeFileAtomically(pathOf(folder, key, label), `${JSON.stringify(result)}\n`);
}
