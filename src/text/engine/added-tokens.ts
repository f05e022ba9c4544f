/** @file Added tokens, which are found in a text before the model runs (reference: huggingface/tokenizers, tokenizer/added_vocabulary.rs).
 *
 *  At each place the longest one is taken. Tokens that are not `normalized` are searched first, in the raw text. The others are normalized
 *  and then searched in the normalized rest. `single_word`: no letter, digit or underscore is next to the token. `lstrip`, `rstrip`: the
 *  token includes the white space on that side. */

import type { Normalizer } from "./normalizers.ts";
import type { Piece } from "./splits.ts";
import { shadow, WHITE_SPACE } from "./unicode.ts";

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly single_word: boolean;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  readonly normalized: boolean;
}

/** A piece of text, or the token found there. */
export type Section = Piece | number;

/** Splits a text into added tokens and normalized pieces. */
export function addedTokenSplitter(tokens: readonly AddedToken[], normalizer: Normalizer): (text: string) => Section[] {
  const plain = matcher(tokens.filter(({ normalized }) => !normalized).map((token) => ({ ...token, pattern: token.content })));
  const normalized = matcher(tokens.filter((token) => token.normalized).map((token) => ({ ...token, pattern: normalizer(token.content) })));
  return (text) =>
    plain({ text, isFirst: true }).flatMap((section) => {
      if (typeof section === "number") return [section];
      return normalized({ ...section, text: normalizer(section.text) });
    });
}

type Wanted = AddedToken & { readonly pattern: string };

function matcher(tokens: readonly Wanted[]): (piece: Piece) => Section[] {
  const byFirst = new Map<string, Wanted[]>();
  for (const token of tokens) {
    if (token.pattern === "") continue;
    const first = token.pattern[0]!;
    byFirst.set(first, [...(byFirst.get(first) ?? []), token]);
  }
  for (const alike of byFirst.values()) alike.sort((a, b) => b.pattern.length - a.pattern.length);
  return (piece) => sections(piece, (at) => byFirst.get(piece.text[at]!)?.find(({ pattern }) => piece.text.startsWith(pattern, at)));
}

function sections({ text, isFirst }: Piece, tokenAt: (at: number) => Wanted | undefined): Section[] {
  const out: Section[] = [];
  let from = 0; // behind the last token
  const push = (end: number): void => {
    if (from < end) out.push({ text: text.slice(from, end), isFirst: isFirst && from === 0 });
  };
  for (let at = 0; at < text.length; ) {
    const token = tokenAt(at);
    if (!token) {
      at++;
      continue;
    }
    let [start, end] = [at, at + token.pattern.length];
    at = end;
    if (token.single_word && (wordBefore(text, start) || wordBehind(text, end))) continue;
    while (token.lstrip && start > from && WHITE_SPACE.test(text[start - 1]!)) start--;
    while (token.rstrip && end < text.length && WHITE_SPACE.test(text[end]!)) end++;
    push(start);
    out.push(token.id);
    from = end;
  }
  push(text.length);
  return out;
}

const WORD = "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]";
const [ENDS_IN_WORD, BEGINS_WITH_WORD] = [new RegExp(`${WORD}$`, "u"), new RegExp(`^${WORD}`, "u")];
const wordBefore = (text: string, at: number): boolean => ENDS_IN_WORD.test(shadow(text.slice(Math.max(0, at - 2), at)));
const wordBehind = (text: string, at: number): boolean => BEGINS_WITH_WORD.test(shadow(text.slice(at, at + 2)));
