/** @file Decodes tokens one by one into text that never has to be taken back.
 *
 *  A token may be part of a character, and decoders look at neighbors (a first space falls away, bytes join to characters). So a short
 *  window of tokens is decoded with and without its newest part, and the difference is new text, once it does not end inside a character
 *  (decoders show that as U+FFFD). All pieces together are what decode gives for all ids, if bytes that are no UTF-8 do not occur. */

import { cleanUpSpaces, settledLength } from "./clean-up.ts";
import type { DecodeOptions, Tokenizer } from "./tokenizer.ts";

export interface TextStream {
  /** Takes the next token; returns the text that is now certain, often empty. */
  push(id: number): string;
  /** Ends the stream; returns what was held back. */
  flush(): string;
}

export interface TextStreamOptions extends DecodeOptions {
  /** Tokens that stand before the stream: its text goes on from theirs, a first space included. */
  readonly after?: readonly number[];
}

/** A stream that decodes as `tokenizer.decode` with the same options does. */
export function textStream(
  tokenizer: Pick<Tokenizer, "decode" | "cleansUpSpaces">,
  { skipSpecialTokens = true, cleanUpSpaces: cleans = tokenizer.cleansUpSpaces, after = [] }: TextStreamOptions = {},
): TextStream {
  const decode = (ids: readonly number[]): string => tokenizer.decode(ids, { skipSpecialTokens, cleanUpSpaces: false });
  let window = [...after]; // tokens whose text is out, kept as context, then tokens whose text is not
  let out = window.length; // how many of them are out
  let unsettled = ""; // decoded text that clean-up may still change

  const release = (text: string, isLast: boolean): string => {
    if (!cleans) return text;
    unsettled += text;
    const length = isLast ? unsettled.length : settledLength(unsettled);
    const settled = unsettled.slice(0, length);
    unsettled = unsettled.slice(length);
    return cleanUpSpaces(settled);
  };

  return {
    push(id) {
      window.push(id);
      const before = decode(window.slice(0, out));
      const after = decode(window);
      if (after.length <= before.length || after.endsWith("\uFFFD")) return "";
      window = window.slice(out);
      out = window.length;
      return release(after.slice(before.length), false);
    },
    flush() {
      const rest = decode(window).slice(decode(window.slice(0, out)).length);
      window = [];
      out = 0;
      return release(rest, true);
    },
  };
}
