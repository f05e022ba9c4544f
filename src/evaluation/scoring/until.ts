/** @file Generated text up to the first of some strings, as lm-evaluation-harness cuts it: a string is looked for in the text with its special
 *  tokens (`until: ["<|im_end|>"]` ends there) and in the text without, which is what comes out. */

import type { Tokenizer } from "../../text/tokenizer.ts";

export interface UntilTexts {
  /** Whether generation is over with these tokens. */
  readonly isOver: (ids: readonly number[]) => boolean;
  /** The text of all tokens, before the first stop string. */
  readonly textOf: (ids: readonly number[]) => string;
}

type Ids = readonly number[];

export function untilTexts(tokenizer: Pick<Tokenizer, "decode">, until: readonly string[]): UntilTexts {
  const plain = (ids: Ids) => tokenizer.decode(ids, { skipSpecialTokens: true });
  const whole = (ids: Ids) => tokenizer.decode(ids);
  return {
    isOver: (ids) => firstStop(plain(ids), until) >= 0 || firstStop(whole(ids), until) >= 0,
    textOf(ids) {
      const text = plain(ids);
      const end = firstStop(text, until);
      if (end >= 0) return text.slice(0, end);
      const at = firstStop(whole(ids), until);
      if (at < 0) return text;
      // The stop string has special tokens: all before it comes out, up to within the token it begins in.
      let count = 0;
      while (whole(ids.slice(0, count + 1)).length <= at) count++;
      const before = ids.slice(0, count);
      return plain(before) + whole(ids.slice(0, count + 1)).slice(whole(before).length, at);
    },
  };
}

/** Where the first stop string begins; -1 for nowhere. */
function firstStop(text: string, until: readonly string[]): number {
  const places = until.filter((stop) => stop !== "").map((stop) => text.indexOf(stop));
  const found = places.filter((at) => at >= 0);
  return found.length === 0 ? -1 : Math.min(...found);
}
