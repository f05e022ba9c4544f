/** @file Texts as token ids for scoring and generation.
 *
 *    context        encoded like an input in training: with the tokenizer's special tokens, but without an end of sequence for
 *                   a decoder-only model. If it is too long, T5 keeps the beginning and the end of sequence, as the PHATGOOSE
 *                   authors do; a decoder-only model keeps the end, next to the answer
 *    answer         encoded like a target in training, with the end of sequence: alone or, after a decoder-only model's input,
 *                   with the tokens that it has there (text/prompt-ids.ts)
 *    pair           encoded like context and continuation in lm-evaluation-harness: joined, then cut where the context's own
 *                   tokens end (decoder-only), or each alone; no end of sequence */

import type { Model } from "../../inference/model.ts";
import type { Architecture } from "../../models/architecture.ts";
import { answerIds, continuationIds, promptIds } from "../../text/prompt-ids.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import { turnEndIds } from "../../text/turn-end.ts";
import { stripRight } from "../metrics/python-text.ts";

export interface ContextOptions {
  readonly maxTokens?: number | undefined;
  /** Whether a chat template wrote the input with its special tokens, so that none is added. */
  readonly isRendered?: boolean | undefined;
}

/** The token ids of an input, cut to `maxTokens`. */
export function encodeContext(
  tokenizer: Tokenizer,
  { kind }: Pick<Architecture, "kind">,
  input: string,
  { maxTokens, isRendered = false }: ContextOptions = {},
): number[] {
  const { eosId } = tokenizer;
  const ids = isRendered ? tokenizer.encode(input, { addSpecialTokens: false }) : promptIds(tokenizer, kind, input);
  if (maxTokens === undefined || ids.length <= maxTokens) return ids;
  if (kind === "decoder-only") return ids.slice(-maxTokens);
  return eosId === undefined ? ids.slice(0, maxTokens) : [...ids.slice(0, maxTokens - 1), eosId];
}

/** The token ids of an answer to `prompt`, including the end of sequence or, after a chat template's prompt, the end of the turn. */
export function encodeAnswer(
  tokenizer: Tokenizer,
  { kind }: Pick<Architecture, "kind">,
  { prompt, answer, isRendered = false }: { readonly prompt: string; readonly answer: string; readonly isRendered?: boolean | undefined },
): number[] {
  if (isRendered) {
    const end = turnEndIds(tokenizer)[0] ?? tokenizer.eosId;
    return [...continuationIds(tokenizer, prompt, answer), ...(end === undefined ? [] : [end])];
  }
  const ids = kind === "decoder-only" ? answerIds(tokenizer, { prompt, answer }) : tokenizer.encode(answer, { addSpecialTokens: false });
  return tokenizer.eosId === undefined ? ids : [...ids, tokenizer.eosId];
}

/** The tokens that end an answer behind a chat template's prompt: of the turn, by the template and by what the experts learned. */
export function endsOfTurns(
  { woven }: Pick<Model, "woven">,
  tokenizer: Tokenizer,
  examples: readonly { readonly isRendered?: boolean | undefined }[],
): number[] {
  return examples.some(({ isRendered }) => isRendered) ? [...turnEndIds(tokenizer), ...(woven.turnEnds ?? [])] : [];
}

/** Context and continuation, as the harness's `_encode_pair` returns them. */
export function encodePair(
  tokenizer: Tokenizer,
  { kind }: Pick<Architecture, "kind">,
  { context, continuation }: { readonly context: string; readonly continuation: string },
): { context: number[]; continuation: number[] } {
  const trimmed = stripRight(context);
  const rest = context.slice(trimmed.length) + continuation;
  if (kind === "encoder-decoder") {
    return { context: tokenizer.encode(trimmed), continuation: tokenizer.encode(rest, { addSpecialTokens: false }) };
  }
  const start = tokenizer.bosId ?? tokenizer.eosId;
  if (trimmed === "") {
    const ids = tokenizer.encode(rest, { addSpecialTokens: false });
    return { context: start === undefined ? [] : [start], continuation: ids };
  }
  const before = encodeContext(tokenizer, { kind }, trimmed);
  const whole = encodeContext(tokenizer, { kind }, trimmed + rest);
  return { context: before, continuation: whole.slice(before.length) };
}
