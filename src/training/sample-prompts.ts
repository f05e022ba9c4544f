/** @file The prompts that an expert continues when it writes its own training text: of a file, else of its card, else none,
 *  so that it continues openings. */

import { basename } from "node:path";
import { checkReadable, readPrompts } from "../data/prompts.ts";
import { cardPrompts } from "../storage/card.ts";
import type { Tokenizer } from "../text/tokenizer.ts";

export interface SamplePrompts {
  /** Absent: openings. */
  readonly prompts?: readonly string[];
  /** Where they come from, for the card; absent for openings. */
  readonly source?: string;
}

/** The prompts for the expert in a folder.
 *  @throws DataError for a file that is empty or has a blank line, and for a prompt that the tokenizer cannot read, by line. */
export async function samplePrompts(expert: string, file: string | undefined, tokenizer: Tokenizer): Promise<SamplePrompts> {
  if (file !== undefined) {
    const prompts = await readPrompts(file);
    checkReadable(prompts, tokenizer);
    return { prompts: prompts.map(({ text }) => text), source: basename(file) };
  }
  const prompts = await cardPrompts(expert);
  return prompts.length > 0 ? { prompts, source: "its card" } : {};
}
