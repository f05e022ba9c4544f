/** @file Text to ids, in the steps of the Rust library (reference: huggingface/tokenizers, tokenizer/mod.rs):
 *
 *    added tokens and normalized text -> pieces -> the model's tokens -> ids -> special tokens around the text
 *
 *  The models (BPE, Unigram, WordPiece) are those of @huggingface/tokenizers; docs/dependencies.md says why the other steps are not. */

import * as z from "zod";
import { type AddedToken, addedTokenSplitter } from "./added-tokens.ts";
import { normalizerOf } from "./normalizers.ts";
import { postProcessorOf } from "./post-processors.ts";
import { preTokenizerOf } from "./pre-tokenizers.ts";

/** The part of a model of @huggingface/tokenizers that is used here. */
export interface Model {
  (pieces: string[]): string[];
  readonly tokens_to_ids: Map<string, number>;
  readonly unk_token_id?: number | null | undefined;
}

export interface EncoderParts {
  readonly model: Model;
  /** The parts of tokenizer.json. */
  readonly file: {
    readonly model: unknown;
    readonly normalizer?: unknown;
    readonly pre_tokenizer?: unknown;
    readonly post_processor?: unknown;
  };
  readonly addedTokens: readonly AddedToken[];
}

export type Encoder = (text: string, options: { readonly addSpecialTokens: boolean }) => readonly number[];

/** The error for a token that is not in a vocabulary without an unknown token. */
export class UnknownToken extends Error {
  constructor(readonly token: string) {
    super(`no token for ${token}`);
  }
}

/** Throws an Error that names what is not supported. */
export function createEncoder({ model, file, addedTokens }: EncoderParts): Encoder {
  const { byteFallback } = checkedModel(file.model);
  const sectionsOf = addedTokenSplitter(addedTokens, normalizerOf(file.normalizer));
  const preTokenized = preTokenizerOf(file.pre_tokenizer);
  const around = postProcessorOf(file.post_processor);
  const idsOf = (token: string): readonly number[] => {
    const id = model.tokens_to_ids.get(token);
    if (id !== undefined) return [id];
    const bytes = byteFallback ? byteIds(token, model) : undefined;
    if (bytes) return bytes;
    const unknown = model.unk_token_id;
    if (unknown === undefined || unknown === null) throw new UnknownToken(token);
    return [unknown];
  };
  return (text, { addSpecialTokens }) => {
    const ids = sectionsOf(text).flatMap((section) => {
      if (typeof section === "number") return [section];
      return preTokenized([section]).flatMap((piece) => model([piece.text]).flatMap(idsOf));
    });
    return addSpecialTokens ? around(ids) : ids;
  };
}

const modelSchema = z.looseObject({
  type: z.string().optional(),
  dropout: z.number().nullish(),
  continuing_subword_prefix: z.string().nullish(),
  byte_fallback: z.boolean().nullish(),
});

/** Refuses models whose settings the engine ignores. BPE falls back to bytes by itself. */
function checkedModel(value: unknown): { byteFallback: boolean } {
  const model = modelSchema.parse(value);
  if (model.type === "BPE" && model.continuing_subword_prefix) {
    throw new Error(`BPE with the continuing_subword_prefix ${JSON.stringify(model.continuing_subword_prefix)}`);
  }
  if (model.type === "BPE" && model.dropout) throw new Error(`BPE with a dropout of ${model.dropout}, which gives other tokens each time`);
  return { byteFallback: model.type === "Unigram" && model.byte_fallback === true };
}

/** Tokens of the form <0x0A>, one for each byte; undefined when one is missing. */
function byteIds(token: string, { tokens_to_ids }: Model): number[] | undefined {
  const ids = Array.from(new TextEncoder().encode(token), (byte) =>
    tokens_to_ids.get(`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`),
  );
  return ids.every((id) => id !== undefined) ? ids : undefined;
}
