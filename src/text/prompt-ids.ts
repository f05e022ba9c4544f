/** @file A prompt as token ids.
 *
 *  Some tokenizers end every text with the end of sequence. Behind an encoder that is what the model learned; a decoder-only
 *  model goes on from its prompt, and after an end it would begin something else. */

import type { Tokenizer } from "./tokenizer.ts";

type Ids = Pick<Tokenizer, "encode" | "eosId" | "bosId">;

/** What a model of this kind reads of `prompt`. A decoder-only model's starts with something, be it the token texts start with. */
export function promptIds(tokenizer: Ids, kind: "decoder-only" | "encoder-decoder", prompt: string): number[] {
  const ids = tokenizer.encode(prompt);
  if (kind === "encoder-decoder") return ids;
  const open = withoutEnd(ids, tokenizer);
  const start = tokenizer.bosId ?? tokenizer.eosId;
  return open.length === 0 && start !== undefined ? [start] : open;
}

/** Ids without an end of sequence at their end. */
export function withoutEnd(ids: number[], { eosId }: Pick<Tokenizer, "eosId">): number[] {
  return eosId !== undefined && ids.at(-1) === eosId ? ids.slice(0, -1) : ids;
}
