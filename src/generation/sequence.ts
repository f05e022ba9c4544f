/** @file A completion during generation: its tokens and, on request, its text. */

import { OptionError } from "../base/errors.ts";
import { derivedSeed, seededRandom } from "../base/random.ts";
import type { Architecture } from "../models/architecture.ts";
import type { Logits } from "./candidates.ts";
import type { CompletionText } from "./completion-text.ts";
import type { GenerationSettings } from "./options.ts";
import type { Routes } from "./routes.ts";
import { type Choice, type Constraint, Sampler } from "./sampler.ts";

/** "stop": an end-of-sequence token, a stop token or a stop string; "length": the maximum number of tokens. */
export type FinishReason = "stop" | "length";

export interface Sequence {
  /** prompt * n + completion. */
  readonly index: number;
  readonly prompt: number;
  /** The generated tokens, without the one that ended the completion. */
  readonly ids: number[];
  /** All choices, including the token that ended the completion. */
  readonly choices: Choice[];
  readonly sampler: Sampler;
  readonly limit: number;
  /** Absent if no text is needed. Stop strings are searched in it. */
  readonly text?: CompletionText;
  finishReason?: FinishReason;
  /** The routes of all tokens except the last, after the sequence has finished. */
  routes?: Routes;
  /** Tokens of the prompt that were in the cache. */
  cachedTokens: number;
}

/** n sequences for each prompt, in order. `constraints`: one for each sequence, or none. */
export function sequencesFor(
  architecture: Architecture,
  prompts: readonly (readonly number[])[],
  settings: GenerationSettings,
  textOf?: (prompt: number) => CompletionText,
  constraints: readonly Constraint[] = [],
): Sequence[] {
  const { n, maxNewTokens } = settings;
  checkIds(settings, architecture.vocabularySize);
  // With a given seed, a prompt's completions do not depend on its place in a batch.
  const seedOf = (prompt: number, completion: number) =>
    settings.seed === undefined ? derivedSeed(crypto.randomUUID(), prompt, completion) : derivedSeed(settings.seed, completion);
  return prompts.flatMap((ids, prompt) => {
    const decoderOnly = architecture.kind === "decoder-only";
    const room =
      decoderOnly && architecture.maxPositions !== undefined ? architecture.maxPositions - ids.length + 1 : Number.POSITIVE_INFINITY;
    const given = decoderOnly ? ids : [architecture.decoderStartId];
    return Array.from({ length: n }, (_, completion) => ({
      index: prompt * n + completion,
      prompt,
      ids: [],
      choices: [],
      sampler: new Sampler(settings, seededRandom(seedOf(prompt, completion)), given, constraints[prompt * n + completion]),
      limit: Math.min(maxNewTokens, room),
      ...(textOf && { text: textOf(prompt) }),
      cachedTokens: 0,
    }));
  });
}

function checkIds({ logitBias, stopIds }: GenerationSettings, vocabularySize: number): void {
  const unknown = [...Object.keys(logitBias).map(Number), ...stopIds].find((id) => !(id >= 0 && id < vocabularySize));
  if (unknown === undefined) return;
  throw new OptionError({
    code: "option-out-of-range",
    data: { option: "logitBias", expected: vocabularySize, got: unknown },
    what: `Token id ${unknown} of the logit bias or the stop ids is outside the vocabulary of ${vocabularySize}.`,
    where: "generation options",
    fix: "Give ids of this model's own tokenizer.",
  });
}

export interface TakenToken {
  readonly sequence: Sequence;
  readonly choice: Choice;
  /** The text that became final with it. */
  readonly text: string;
  /** The route of the token it was predicted from. */
  readonly route?: Routes;
}

/** The tokens that end a completion. */
export function endingIds({ stopIds, eosIds, ignoreEos }: GenerationSettings): ReadonlySet<number> {
  return new Set([...stopIds, ...(ignoreEos ? [] : eosIds)]);
}

/** Chooses the sequence's next token from the logits after its last token, and sets finishReason if it ends there. */
export function takeToken(sequence: Sequence, logits: Logits, ends: ReadonlySet<number>): TakenToken {
  const choice = sequence.sampler.next(logits);
  sequence.choices.push(choice);
  if (ends.has(choice.id)) sequence.finishReason = "stop";
  else sequence.ids.push(choice.id);
  if (sequence.ids.length >= sequence.limit) sequence.finishReason ??= "length";
  return { sequence, choice, text: sequence.text ? pieceOf(sequence, sequence.text, choice.id) : "" };
}

function pieceOf(sequence: Sequence, text: CompletionText, id: number): string {
  let piece = sequence.finishReason === "stop" ? "" : text.push(id);
  if (sequence.finishReason && !text.stopped) piece += text.end();
  if (text.stopped) sequence.finishReason = "stop";
  return piece;
}
