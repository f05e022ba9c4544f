/** @file How a single token reads. */

import type { Tokenizer } from "./tokenizer.ts";

/** A token's text in the middle of a text: what a second copy adds to a first one, whose leading space decoders drop. */
export function textWithin(decode: Tokenizer["decode"], id: number): string {
  const options = { cleanUpSpaces: false };
  return decode([id, id], options).slice(decode([id], options).length);
}
