/** @file Reads the small variant of the public data, as public-data.ts writes it. */

import { join } from "node:path";
import { z } from "zod";
import { parseRow } from "../data/row.ts";
import { readRows } from "../data/rows.ts";
import type { Part } from "./content-split.ts";
import type { PublicRow, PublicSet } from "./public-sets.ts";

const PREPARED = z.object({
  inputs_pretokenized: z.string(),
  targets_pretokenized: z.string(),
  answer_choices: z.array(z.string()).optional(),
});
const HELD_OUT = z.object({ input: z.string(), target: z.string(), choices: z.array(z.string()).optional() });
const FIX = "Write the folder again with recipes/public-data.mjs.";

/** One part of an expert's set. */
export async function expertRows(data: string, set: PublicSet, part: Part): Promise<PublicRow[]> {
  const rows = await readRows(join(data, set.folder, `${part}.jsonl`));
  return rows.map((row) => {
    const { inputs_pretokenized: input, targets_pretokenized: target, answer_choices: choices } = parseRow(PREPARED, row, FIX);
    return { input, target, ...(choices && { choices }) };
  });
}

/** A held-out set. */
export async function heldOutRows(data: string, name: string): Promise<PublicRow[]> {
  const rows = await readRows(join(data, "held-out", `${name}.jsonl`));
  return rows.map((row) => {
    const { choices, ...pair } = parseRow(HELD_OUT, row, FIX);
    return { ...pair, ...(choices && { choices }) };
  });
}
