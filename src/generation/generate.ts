/** @file Generation: streams tokens and text for prompts. */

import { DataError } from "../base/errors.ts";
import { throwIfStopped } from "../base/stopped.ts";
import type { Model } from "../inference/model.ts";
import { promptIds } from "../text/prompt-ids.ts";
import { textStream } from "../text/stream.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { specialText, turnEndIds } from "../text/turn-end.ts";
import { CompletionText } from "./completion-text.ts";
import { EventQueue } from "./event-queue.ts";
import { type GenerationOptions, generationSettings, withTurnEnds } from "./options.ts";
import type { Routes } from "./routes.ts";
import type { Choice } from "./sampler.ts";
import { schedulerOf } from "./scheduler.ts";
import { endingIds, type FinishReason, type Sequence, sequencesFor, type TakenToken } from "./sequence.ts";
import { stopWatch } from "./stop-strings.ts";

/** A text, which the tokenizer encodes with its special tokens; or token ids, which are used unchanged. */
export type Prompt = string | readonly number[];

/** Settings of a request that do not change its tokens: the client, and the signal that stops it. */
export interface GenerateControl {
  /** Ends generation with a StoppedError, whose cause is the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** The client of the request. Clients take turns when not all requests can run at once. */
  readonly client?: string;
}

/** A token, sent as soon as it is chosen. */
export interface TokenEvent extends Choice {
  readonly kind: "token";
  /** prompt * n + completion. */
  readonly index: number;
  /** The text that became final with this token, often empty. The pieces of a completion joined together are its text. */
  readonly text: string;
  /** Module -> [1, 1, k]: the experts that served the token before it, from which it was predicted. */
  readonly route?: Routes;
}

/** A finished completion. */
export interface CompletionEvent {
  readonly kind: "completion";
  readonly index: number;
  readonly prompt: number;
  readonly text: string;
  /** Without the token that ended it. */
  readonly ids: readonly number[];
  readonly finishReason: FinishReason;
  readonly usage: Usage;
  /** Module -> [1, tokens, k], as in a forward pass of prompt and completion. The last token is never fed and has no route. */
  readonly routes?: Routes;
}

/** The number of tokens that a completion used. */
export interface Usage {
  readonly promptTokens: number;
  /** Generated tokens, including the one that ends the completion. */
  readonly completionTokens: number;
  /** Tokens of the prompt that were already in the cache, from another text with the same beginning. */
  readonly cachedTokens: number;
}

/** Streams the completions of one prompt, or of many side by side.
 *  @example
 *  for await (const event of generate(model, tokenizer, "Once upon a time", { maxNewTokens: 50 })) {
 *    if (event.kind === "token") process.stdout.write(event.text);
 *  } */
export async function* generate(
  model: Model,
  tokenizer: Tokenizer,
  prompt: Prompt | readonly Prompt[],
  { signal, client, ...options }: GenerationOptions & GenerateControl = {},
): AsyncGenerator<TokenEvent | CompletionEvent> {
  const turnEnds = [...turnEndIds(tokenizer), ...(model.woven.turnEnds ?? [])];
  const settings = withTurnEnds(generationSettings(options, model.base.checkpoint, tokenizer), options, turnEnds);
  const { architecture } = model.base;
  const { kind } = architecture;
  const prompts = listed(prompt).map((text) => (typeof text === "string" ? promptIds(tokenizer, kind, text) : text));
  // A decoder-only model continues the text of the prompt; an encoder-decoder model begins a new text.
  const before = (prompt: number) => (kind === "decoder-only" ? prompts[prompt]!.slice(-CONTEXT) : []);
  const special = (id: number) => specialText(tokenizer, id);
  const textOf = (prompt: number) =>
    new CompletionText(textStream(tokenizer, { after: before(prompt) }), stopWatch(settings.stop), special);
  const sequences = sequencesFor(architecture, prompts, settings, textOf);
  const events = new EventQueue<TokenEvent | CompletionEvent>();
  throwIfStopped(signal, "generation");
  const job = { model, prompts, sequences, ends: endingIds(settings), routes: settings.routes, signal, ...(client && { client }) };
  const leave = schedulerOf(model.runner).submit(job, {
    token: (token) => {
      events.push(tokenEvent(token));
      if (token.sequence.finishReason) events.push(completionEvent(token.sequence, prompts[token.sequence.prompt]!.length));
    },
    end: (error) => events.end(error),
  });
  try {
    yield* events.read(signal);
  } finally {
    leave();
  }
}

const CONTEXT = 8; // tokens; enough to show a tokenizer's decoder that the text does not begin here

function tokenEvent({ sequence: { index }, choice, text, route }: TakenToken): TokenEvent {
  return { kind: "token", index, text, ...choice, ...(route && { route }) };
}

function completionEvent(sequence: Sequence, promptTokens: number): CompletionEvent {
  const { index, prompt, ids, choices, cachedTokens, finishReason = "length", routes, text } = sequence;
  const usage = { promptTokens, completionTokens: choices.length, cachedTokens };
  return { kind: "completion", index, prompt, text: text?.all ?? "", ids, finishReason, usage, ...(routes && { routes }) };
}

function listed(prompt: Prompt | readonly Prompt[]): readonly Prompt[] {
  const isOne = typeof prompt === "string" || typeof prompt[0] === "number";
  const prompts = (isOne ? [prompt] : prompt) as readonly Prompt[];
  if (prompts.length > 0) return prompts;
  throw new DataError({ code: "data-empty", what: "There is no prompt.", fix: "Give a text, token ids, or a list of either." });
}

/** One completion as tokens. */
export interface GeneratedTokens {
  /** Without the token that ended it. */
  readonly ids: readonly number[];
  readonly finishReason: FinishReason;
  /** One for each id, and one for the token that ends the completion. */
  readonly choices: readonly Choice[];
  readonly routes?: Routes;
}

export interface BatchControl {
  readonly signal?: AbortSignal;
  /** The number of prompts decoded in parallel. Default 16. */
  readonly batchSize?: number;
  /** Ends a completion if it returns true for the tokens so far. */
  readonly until?: (ids: readonly number[], prompt: number) => boolean;
  /** Called after each prompt with the number of prompts done. */
  readonly onProgress?: (done: number) => void;
}

/** Completions of many prompts of token ids, n for each, in the prompts' order: for evaluation. The longest are read first,
 *  so that prompts of similar length share a batch. */
export async function generateBatch(
  model: Model,
  prompts: readonly (readonly number[])[],
  { signal, batchSize = 16, until, onProgress, ...options }: GenerationOptions & BatchControl = {},
): Promise<GeneratedTokens[]> {
  const settings = generationSettings(options, model.base.checkpoint);
  const { n, routes } = settings;
  const all = sequencesFor(model.base.architecture, prompts, settings);
  const byLength = prompts.map((_, i) => i).sort((a, b) => prompts[b]!.length - prompts[a]!.length || a - b);
  const job = {
    model,
    prompts: byLength.map((prompt) => prompts[prompt]!),
    sequences: byLength.flatMap((prompt) => all.slice(prompt * n, (prompt + 1) * n)),
    ends: endingIds(settings),
    rowsAtOnce: batchSize * n,
    keeps: false, // running rows share their beginnings; later batches seldom continue an answer
    routes,
    until,
    signal,
  };
  const left = prompts.map(() => n);
  let done = 0;
  throwIfStopped(signal, "generation");
  if (prompts.length > 0) {
    await new Promise<void>((resolve, reject) => {
      const token = ({ sequence: { finishReason, prompt } }: TakenToken) => {
        if (finishReason && --left[prompt]! === 0) onProgress?.(++done);
      };
      schedulerOf(model.runner).submit(job, { token, end: (error) => (error === undefined ? resolve() : reject(error)) });
    });
  }
  return all.map(({ ids, finishReason = "length", choices, routes }) => ({ ids, finishReason, choices, ...(routes && { routes }) }));
}
