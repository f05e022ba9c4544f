/** @file Keeps results of methods on tasks in a folder, so that a stopped evaluation continues.
 *
 *  A file's name contains a hash of everything that the result depends on: base, configuration and tokenizer, method, task with its
 *  filters, longest sequence. If one of them changes, the result is computed again. The batch size is not included, since it changes no result. */

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { codeOf, writeFileAtomically } from "../../checkpoint/atomic.ts";
import { TOKENIZER_FILES } from "../../checkpoint/checkpoint.ts";
import type { Base } from "../../inference/base.ts";
import { hasOwnNumbers } from "../../quantization/scheme.ts";
import type { TaskResult } from "../scoring/run-task.ts";
import type { Task } from "../tasks/task.ts";
import { contentHash } from "./methods.ts";

const VERSION = 4; // increased when the same inputs give other results

export interface CacheKey {
  /** The base's fingerprint: its tensors. */
  readonly base: string;
  /** `settingsHash` of the model that answers: its configuration and tokenizer. */
  readonly settings: string;
  readonly method: string;
  readonly task: Task;
  /** Longest sequence in tokens. */
  readonly maxLength: number | undefined;
}

/** A hash of what changes an answer besides the tensors: config.json, the tokenizer's files, and the precision of the base. */
export async function settingsHash({ checkpoint: { directory }, precision }: Pick<Base, "checkpoint" | "precision">): Promise<string> {
  const hash = createHash("sha256").update(hasOwnNumbers(precision) ? "" : precision);
  for (const name of ["config.json", "generation_config.json", ...TOKENIZER_FILES]) {
    try {
      const file = await readFile(join(directory, name));
      hash.update(`${name} ${file.length}\n`).update(file);
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw error;
    }
  }
  return hash.digest("hex").slice(0, 32);
}

function pathOf(folder: string, key: CacheKey, label: string): string {
  const hash = contentHash({ VERSION, ...key });
  return join(folder, `${label.replace(/[^\w.-]+/g, "-").slice(0, 80)}.${hash}.json`);
}

/** The stored result; undefined when there is none. `label` only makes the file's name readable. */
export async function readCached(folder: string, key: CacheKey, label: string): Promise<TaskResult | undefined> {
  try {
    return JSON.parse(await readFile(pathOf(folder, key, label), "utf8"));
  } catch (error) {
    // A file that is not JSON is incomplete: compute again.
    if (codeOf(error) === "ENOENT" || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

export async function writeCached(folder: string, key: CacheKey, label: string, result: TaskResult): Promise<void> {
  await writeFileAtomically(pathOf(folder, key, label), `${JSON.stringify(result)}\n`);
}
