/** @file Decodes tokens one by one into text that later tokens do not change.
 *
 *  A token may be part of a character, and decoders look at neighboring tokens (they drop a first space and join bytes to characters).
 *  Therefore a short window of tokens is decoded with and without its newest part. The difference is new text, unless it ends inside a
 *  character (decoders show that as U+FFFD). All pieces together equal the decoded text of all ids, if all bytes are valid UTF-8. */

import { cleanUpSpaces, settledLength } from "./clean-up.ts";
import type { DecodeOptions, Tokenizer } from "./tokenizer.ts";

/** Text out of tokens that come one by one. */
export interface TextStream {
  /** Takes the next token; returns the text that is now final, often empty. */
  push(id: number): string;
  /** Ends the stream; returns the rest of the text. */
  flush(): string;
}

/** How text is decoded, and after which tokens it goes on. */
export interface TextStreamOptions extends DecodeOptions {
  /** Tokens before the stream. The stream's text continues theirs, including a first space. */
  readonly after?: readonly number[];
}

/** A stream that decodes like `tokenizer.decode` with the same options. */
export function textStream(
  tokenizer: Pick<Tokenizer, "decode" | "cleansUpSpaces">,
  { skipSpecialTokens = true, cleanUpSpaces: cleans = tokenizer.cleansUpSpaces, after = [] }: TextStreamOptions = {},
): TextStream {
  const decode = (ids: readonly number[]): string => tokenizer.decode(ids, { skipSpecialTokens, cleanUpSpaces: false });
  let window = [...after]; // tokens whose text was returned, kept as context, then tokens whose text was not
  let out = window.length; // how many of them were returned
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
