/** @file The small variant of the public data: at most 200 rows of a set, cut to the length of small models, split by content.
 *
 *      OUT/P3/<configuration>/train.jsonl, validation.jsonl, test.jsonl     { inputs_pretokenized, targets_pretokenized }
 *      OUT/<set>/...                                                        the same, for sets outside bigscience/P3
 *      OUT/held-out/<set>.jsonl                                             { input, target, choices }
 *
 *  recipes/pools/public.yaml reads this folder where it is the farm's data folder, else the full sets from the Hub. */

import { join } from "node:path";
import { z } from "zod";
import { derivedSeed, seededRandom, shuffled } from "../base/random.ts";
import { makeFolder, writeFileAtomically } from "../checkpoint/atomic.ts";
import type { Row } from "../data/row.ts";
import { parseJson, readRows, readUtf8 } from "../data/rows.ts";
import { contentSplit, PARTS, type Part } from "./content-split.ts";
import { PUBLIC_EXPERTS, PUBLIC_HELD_OUT, type PublicRow, type PublicSet } from "./public-sets.ts";

const MOST_ROWS = 200;
const LONGEST_INPUT = 320; // characters: about 150 tokens of the smallest vocabulary
const LONGEST_TARGET = 160;
const MOST_CHOICES = 6; // a set with more different answers has no choices
const LONGEST_CHOICE = 24;

/** The usable rows of a set, its parts by content. `folder` holds the public data. */
export async function publicRows(folder: string, set: PublicSet): Promise<ReadonlyMap<Part, readonly PublicRow[]>> {
  const path = join(folder, set.file);
  const rows = (await rowsOf(path)).flatMap((row) => set.row(row) ?? []);
  const fitting = rows.filter(({ target }) => target !== "" && target.length <= LONGEST_TARGET);
  const chosen = shuffled(fitting, seededRandom(derivedSeed("public", set.name))).slice(0, MOST_ROWS);
  const parts = contentSplit(chosen.map(({ input }) => input));
  const shared = sharedChoices(chosen);
  const cut = chosen.map((row) => ({ ...(shared && { choices: shared }), ...row, input: shortened(row.input) }));
  return new Map(PARTS.map((part) => [part, cut.filter((_, i) => parts[i] === part)]));
}

/** Writes the small variant of all sets into `out`. */
export async function writePublicData(folder: string, out: string): Promise<void> {
  for (const set of PUBLIC_EXPERTS) {
    const parts = await publicRows(folder, set);
    await makeFolder(join(out, set.folder));
    for (const [part, rows] of parts) {
      const lines = rows.map(({ input, target, choices }) => ({
        inputs_pretokenized: input,
        targets_pretokenized: target,
        ...(choices && { answer_choices: choices }),
      }));
      await writeLines(join(out, set.folder, `${part}.jsonl`), lines);
    }
  }
  await makeFolder(join(out, "held-out"));
  for (const set of PUBLIC_HELD_OUT) {
    const parts = await publicRows(folder, set);
    await writeLines(join(out, "held-out", `${set.name}.jsonl`), [...parts.values()].flat());
  }
}

/** Cuts the middle out of a long text: instructions stand at the beginning or at the end. */
export function shortened(input: string, longest = LONGEST_INPUT): string {
  if (input.length <= longest) return input;
  const half = Math.floor(longest / 2);
  return `${input.slice(0, half).trimEnd()} ... ${input.slice(-half).trimStart()}`;
}

/** The answers of a set that has only a few short ones. */
function sharedChoices(rows: readonly PublicRow[]): string[] | undefined {
  const answers = [...new Set(rows.map(({ target }) => target))].sort();
  return answers.length <= MOST_CHOICES && answers.every(({ length }) => length <= LONGEST_CHOICE) ? answers : undefined;
}

/** Rows of a data file, of an object's list of examples, or the lines of a text file. */
async function rowsOf(path: string): Promise<readonly Row[]> {
  if (!path.endsWith(".txt") && !path.endsWith(".json")) return await readRows(path);
  const content = await readUtf8(path);
  if (path.endsWith(".txt")) return lineRows(content, path);
  if (!content.startsWith("{")) return await readRows(path);
  const { examples } = EXAMPLES.parse(parseJson(content, path));
  return examples.map((value, i) => ({ value, where: `${path}, row ${i + 1}` }));
}
const EXAMPLES = z.object({ examples: z.array(z.record(z.string(), z.unknown())) });

const lineRows = (content: string, path: string): Row[] =>
  content.split("\n").flatMap((text, i) => (text ? [{ value: { text }, where: `${path}, line ${i + 1}` }] : []));

async function writeLines(path: string, rows: readonly object[]): Promise<void> {
  await writeFileAtomically(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
}
