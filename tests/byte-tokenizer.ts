/** @file A small tokenizer for models without one: each byte is a token; pad, end and unknown come first. */

import type { Tokenizer } from "../src/text/tokenizer.ts";

const FIRST = 3;

/** Ids 0 pad, 1 end of sequence, 2 unknown; byte b is b + 3. `vocabularySize` bounds the ids, for small models. */
export function byteTokenizer(vocabularySize = 259): Tokenizer {
  const bytesOf = (ids: readonly number[]) => Uint8Array.from(ids.filter((id) => id >= FIRST).map((id) => id - FIRST));
  const decode = (ids: readonly number[]) => new TextDecoder().decode(bytesOf(ids));
  return {
    encode: (text, { addSpecialTokens = true } = {}) => {
      const ids = [...new TextEncoder().encode(text)].map((byte) => (byte + FIRST < vocabularySize ? byte + FIRST : 2));
      return addSpecialTokens ? [...ids, 1] : ids;
    },
    decode,
    tokenText: (id) => decode([id]),
    idOf: (token) => ["<pad>", "</s>", "<unk>"].indexOf(token),
    vocabularySize,
    padId: 0,
    eosId: 1,
    unkId: 2,
    specialTokens: { pad: "<pad>", eos: "</s>", unk: "<unk>" },
    cleansUpSpaces: false,
    chatTemplates: new Map(),
  };
}
