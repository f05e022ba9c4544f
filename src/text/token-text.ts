/** @file The text of a single token. */

import type { Tokenizer } from "./tokenizer.ts";

/** A token's text in the middle of a text. It is what a second copy adds to a first, since decoders drop the leading space of the first. */
export function textWithin(decode: Tokenizer["decode"], id: number): string {
  const options = { cleanUpSpaces: false };
  return decode([id, id], options).slice(decode([id], options).length);
}
