/** @file The tokens with which an expert learned to end a turn of a chat: turn_end.json { "ids": [...], "tokens": [...] } beside the adapter.
 *
 *  They need not be the end of sequence that the base model's configuration names, so the expert brings them along. Python PEFT passes
 *  the file over; it is no part of a pool's hash. */

import { rm } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { TURN_END_FILE } from "../adapters/file-names.ts";
import { AdapterError } from "../base/errors.ts";
import { codeOf, writeFileAtomically } from "../checkpoint/atomic.ts";
import { readText } from "./files.ts";

export interface TurnEnd {
  readonly id: number;
  /** As the vocabulary spells it, for a reader. */
  readonly token: string;
}

const schema = z.looseObject({ ids: z.array(z.int().min(0)) });

/** Records the ends beside the adapter in `directory`; without any, an older record goes. */
export async function saveTurnEnds(directory: string, ends: readonly TurnEnd[]): Promise<void> {
  const path = join(directory, TURN_END_FILE);
  if (ends.length === 0) return rm(path, { force: true });
  const record = { ids: ends.map(({ id }) => id), tokens: ends.map(({ token }) => token) };
  await writeFileAtomically(path, `${JSON.stringify(record, null, 2)}\n`);
}

/** The ids that are recorded in an adapter's folder; none without a record. */
export async function readTurnEnds(directory: string): Promise<readonly number[]> {
  const path = join(directory, TURN_END_FILE);
  try {
    return schema.parse(JSON.parse(await readText(path))).ids;
  } catch (cause) {
    if (codeOf(cause) === "ENOENT") return [];
    throw new AdapterError({
      code: "adapter-bad-config",
      what: `${TURN_END_FILE} cannot be read: expected { "ids": [token ids] }.`,
      where: path,
      fix: "Mend the file, or delete it.",
      cause,
    });
  }
}
