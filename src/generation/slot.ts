/** @file A slot: one sequence in a decoder, independent of the place of its row. */

import { ShapeError } from "../base/errors.ts";
import type { Woven } from "../inference/woven.ts";
import type { Architecture } from "../models/architecture.ts";
import type { Feeds } from "../runtime/session.ts";
import type { Logits } from "./candidates.ts";
import { PromptReading, type PromptWork } from "./prompt-reading.ts";
import { joinedRoutes, lastRoutes, type Routes } from "./routes.ts";

/** The routes of some consecutive tokens of a sequence. */
export interface RoutedTokens {
  readonly count: number;
  readonly routes: Routes;
}

export interface SlotOptions {
  /** The text that an encoder reads; the decoded tokens follow it. */
  readonly prompt?: readonly number[];
  /** The feeds of the row's own choice: tensors [1, ...]. */
  readonly rowFeeds?: Feeds;
  /** What computes the row among others of its kind; without it, always the decoder's model. */
  readonly alone?: Woven | undefined;
  /** What is computed from the tokens while they are read. */
  readonly work?: PromptWork | undefined;
  /** How many of the best logits are enough; without it, all are needed. */
  readonly candidates?: number | undefined;
}

export class Slot {
  readonly prompt: readonly number[];
  readonly rowFeeds: Feeds;
  readonly alone: Woven | undefined;
  readonly reading: PromptReading | undefined;
  readonly candidates: number | undefined;
  /** Tokens whose keys and values are in the cache. */
  tokens: number[] = [];
  /** Tokens that still have to be read. */
  pending: number[];
  /** After the last token; undefined while tokens are pending. Only a slot with `candidates` may get candidates. */
  logits: Logits | undefined;
  /** The routes of the cached tokens, in order; empty without routes. */
  routed: RoutedTokens[] = [];
  /** The routes of the prompt in the encoder, if there is one. */
  encoderRoutes: Routes | undefined;

  constructor(pending: readonly number[], { prompt = [], rowFeeds = {}, alone, work, candidates }: SlotOptions = {}) {
    this.pending = [...pending];
    this.prompt = prompt;
    this.rowFeeds = rowFeeds;
    this.alone = alone;
    this.candidates = candidates;
    this.reading = work && new PromptReading(work);
  }

  /** Tokens of the sequence, read or not. */
  get length(): number {
    return this.tokens.length + this.pending.length;
  }
  /** The work on the tokens that are still to be read. */
  get work(): PromptWork | undefined {
    return this.reading?.result ? undefined : this.reading?.work;
  }
  /** The route of the last token. */
  get lastRoute(): Routes | undefined {
    const last = this.routed.at(-1);
    return last && lastRoutes(last.routes, 1);
  }
  /** All routes so far: encoder, then decoder. */
  get routes(): Routes | undefined {
    if (this.routed.length === 0) return undefined;
    return joinedRoutes([...(this.encoderRoutes ? [this.encoderRoutes] : []), ...this.routed.map(({ routes }) => routes)]);
  }
}

/** The number of first tokens that two texts share. */
export function sharedLength(a: readonly number[], b: readonly number[]): number {
  const end = Math.min(a.length, b.length);
  let length = 0;
  while (length < end && a[length] === b[length]) length++;
  return length;
}

/** Refuses a prompt that the model cannot read. */
export function checkPrompt(prompt: readonly number[], architecture: Architecture): void {
  if (prompt.length === 0) {
    throw new ShapeError({
      code: "shape-empty",
      what: "The prompt has no tokens.",
      fix: "Give at least one token, such as the model's bos token.",
    });
  }
  const unknown = prompt.find((id) => !Number.isInteger(id) || id < 0 || id >= architecture.vocabularySize);
  if (unknown !== undefined) {
    throw new ShapeError({
      code: "shape-token-unknown",
      data: { got: unknown, expected: architecture.vocabularySize },
      what: `Token id ${unknown} is outside the vocabulary of ${architecture.vocabularySize}.`,
      fix: "Use the tokenizer that belongs to this model.",
    });
  }
  const limit = architecture.kind === "decoder-only" ? architecture.maxPositions : undefined;
  if (limit !== undefined && prompt.length > limit) {
    throw new ShapeError({
      code: "shape-too-long",
      data: { got: prompt.length, expected: limit },
      what: `The prompt has ${prompt.length} tokens; the model has ${limit} positions.`,
      fix: "Shorten the prompt, or use a model trained on longer texts.",
    });
  }
}
