/** @file Prompts from a file: lines of text, or rows with a `prompt`, `input`, `instruction` or `text`.
 *
 *  A blank line, and a line that the tokenizer cannot read, are refused with their place: an expert would be sampled on noise. */

import { DataError } from "../base/errors.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { Row } from "./row.ts";
import { dataFormat, readRows, readUtf8 } from "./rows.ts";

const FIELDS = ["prompt", "input", "instruction", "text"] as const;

/** A prompt and its place, for messages. */
export interface PlacedPrompt {
  readonly text: string;
  readonly where: string;
}

/** The prompts of a data file (.jsonl, .csv, ...) or of a text file with one prompt a line.
 *  @throws DataError for a file without prompts, and for a blank line or row. */
export async function readPrompts(path: string): Promise<PlacedPrompt[]> {
  const prompts = dataFormat(path) === undefined ? linesOf(await readUtf8(path), path) : (await readRows(path)).map(promptOf);
  const fix = "Write one prompt a line, or rows with a prompt.";
  if (prompts.length === 0) throw new DataError({ code: "data-empty", what: "The file has no prompts.", where: path, fix });
  const blank = prompts.find(({ text }) => text.trim() === "");
  if (blank)
    throw new DataError({
      code: "data-bad-row",
      what: "This prompt is blank.",
      where: blank.where,
      fix: "Write a prompt, or delete the line.",
    });
  return prompts;
}

function linesOf(content: string, path: string): PlacedPrompt[] {
  const lines = content.replace(/\s+$/, "").split(/\r?\n/);
  if (lines.length === 1 && lines[0] === "") return [];
  return lines.map((text, i) => ({ text, where: `${path}, line ${i + 1}` }));
}

function promptOf({ value, where }: Row): PlacedPrompt {
  const field = FIELDS.find((name) => typeof value[name] === "string");
  if (field !== undefined) return { text: String(value[field]), where };
  throw new DataError({
    code: "data-bad-row",
    what: `This row has no prompt: none of ${FIELDS.join(", ")} is a text.`,
    where,
    fix: 'Write {"prompt": text}.',
  });
}

const MOST_UNKNOWN = 0.5;

/** Refuses prompts that the tokenizer cannot read: more than half of their tokens are unknown or single bytes of other scripts.
 *  @throws DataError with the place of the first. */
export function checkReadable(prompts: readonly PlacedPrompt[], tokenizer: Tokenizer): void {
  for (const { text, where } of prompts) {
    const ids = tokenizer.encode(text, { addSpecialTokens: false });
    const unknown = ids.filter((id) => id === tokenizer.unkId || tokenizer.tokenText(id).includes("\uFFFD")).length;
    if (ids.length > 0 && unknown <= MOST_UNKNOWN * ids.length) continue;
    throw new DataError({
      code: "data-unknown-tokens",
      what: `The base's tokenizer does not know ${unknown} of the ${ids.length} tokens of this prompt: it is of a language or an alphabet that the base did not learn.`,
      where,
      fix: "Write prompts in a language of the base model, or delete the line.",
    });
  }
}
