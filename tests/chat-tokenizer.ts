/** @file A small tokenizer for chat templates: each byte is a token, and so is each special token in a text. */

import type { SpecialTokens, Tokenizer } from "../src/text/tokenizer.ts";

export interface ChatTokenizerOptions {
  /** Ids from 256 in this order. */
  readonly special: readonly string[];
  readonly names?: SpecialTokens;
}

/** Byte b is id b; special tokens follow. */
export function chatTokenizer(template: string, { special, names = {} }: ChatTokenizerOptions): Tokenizer {
  const idOf = (token: string | undefined) => (token !== undefined && special.includes(token) ? 256 + special.indexOf(token) : undefined);
  const escaped = special.map((token) => token.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const parts = (text: string) => (special.length === 0 ? [text] : text.split(new RegExp(`(${escaped.join("|")})`)));
  const decode: Tokenizer["decode"] = (ids, { skipSpecialTokens = false } = {}) => {
    const bytes = ids.flatMap((id) => (id < 256 ? [id] : skipSpecialTokens ? [] : [...new TextEncoder().encode(special[id - 256])]));
    return new TextDecoder().decode(Uint8Array.from(bytes));
  };
  const [bosId, eosId] = [idOf(names.bos), idOf(names.eos)];
  return {
    encode: (text) => parts(text).flatMap((part) => idOf(part) ?? [...new TextEncoder().encode(part)]),
    decode,
    tokenText: (id) => decode([id]),
    idOf,
    vocabularySize: 256 + special.length,
    ...(bosId !== undefined && { bosId }),
    ...(eosId !== undefined && { eosId }),
    specialTokens: names,
    cleansUpSpaces: false,
    chatTemplate: template,
    chatTemplates: new Map([["default", template]]),
  };
}

/** Texts in a template's source that look like special tokens. */
export function specialTokensIn(template: string): string[] {
  const found = template.match(/<[|｜][^<>'"{}]*?[|｜]>|<\/?s>|<(?:bos|eos)>|<(?:start|end)_of_turn>|\[\/?[A-Z][A-Z_]*\]/g) ?? [];
  return [...new Set(found)];
}
