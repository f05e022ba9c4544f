/** @file Generation: prompts in, tokens and text out, as they come.
 *
 *  Text is held back while it may still change: part of a character, or the beginning of a stop string. */

import { DataError } from "../base/errors.ts";
import type { Model } from "../inference/model.ts";
import { promptIds } from "../text/prompt-ids.ts";
import { type TextStream, textStream } from "../text/stream.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { Decoder } from "./decoder.ts";
import { type GenerationOptions, generationSettings } from "./options.ts";
import type { Routes } from "./routes.ts";
import type { Choice } from "./sampler.ts";
import { decodedSteps, type FinishReason, routesOf, type Sequence, sequencesFor, type TakenToken } from "./sequence.ts";
import { type StopWatch, stopWatch } from "./stop-strings.ts";

/** Text, which the tokenizer encodes with its special tokens, or token ids as they are. */
export type Prompt = string | readonly number[];

export interface GenerateControl {
  /** Ends generation with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Decodes with this decoder, which keeps its cache: hand the same one over for each turn of a chat. */
  readonly decoder?: Decoder;
}

/** A token as soon as it is chosen. */
export interface TokenEvent extends Choice {
  readonly kind: "token";
  /** prompt * n + completion. */
  readonly index: number;
  /** Text that became certain with this token, often empty; a completion's pieces together are its text. */
  readonly text: string;
  /** Module -> [1, 1, k]: the experts that served the token it was predicted from. */
  readonly route?: Routes;
}

/** A completion when it is done. */
export interface CompletionEvent {
  readonly kind: "completion";
  readonly index: number;
  readonly prompt: number;
  readonly text: string;
  /** Without the token that ended it. */
  readonly ids: readonly number[];
  readonly finishReason: FinishReason;
  readonly usage: Usage;
  /** Module -> [1, tokens, k], as a forward of prompt and completion routes them; the last token is never fed. Tokens
   *  that were in the cache already are left out. */
  readonly routes?: Routes;
}

export interface Usage {
  readonly promptTokens: number;
  /** Tokens generated, the ending one included. */
  readonly completionTokens: number;
  /** Tokens of the prompt whose keys and values were kept from an earlier call. */
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
  { signal, decoder, ...options }: GenerationOptions & GenerateControl = {},
): AsyncGenerator<TokenEvent | CompletionEvent> {
  const settings = generationSettings(options, model.base.checkpoint, tokenizer);
  const { kind } = model.base.architecture;
  const prompts = promptsOf(prompt).map((text) => (typeof text === "string" ? promptIds(tokenizer, kind, text) : text));
  const sequences = sequencesFor(model, prompts, settings);
  // A decoder-only model goes on from the prompt's text; behind an encoder a new text begins.
  const before = (prompt: number) => (kind === "decoder-only" ? prompts[prompt]!.slice(-CONTEXT) : []);
  const texts = sequences.map(
    (sequence) => new CompletionText(textStream(tokenizer, { after: before(sequence.prompt) }), stopWatch(settings.stop)),
  );
  for await (const tokens of decodedSteps(decoder ?? new Decoder(model), prompts, sequences, settings, signal)) {
    for (const token of tokens) {
      const text = texts[token.sequence.index]!;
      yield tokenEvent(token, text);
      if (token.sequence.finishReason) yield completionEvent(token.sequence, text.all, prompts[token.sequence.prompt]!.length);
    }
  }
}

const CONTEXT = 8; // tokens; enough for decoders to see that a text does not begin here

function tokenEvent({ sequence, choice, route }: TakenToken, text: CompletionText): TokenEvent {
  let piece = sequence.finishReason === "stop" ? "" : text.push(choice.id);
  if (sequence.finishReason && !text.stopped) piece += text.end();
  if (text.stopped) sequence.finishReason = "stop";
  return { kind: "token", index: sequence.index, text: piece, ...choice, ...(route && { route }) };
}

function completionEvent(sequence: Sequence, text: string, promptTokens: number): CompletionEvent {
  const { index, prompt, ids, choices, cachedTokens, finishReason = "length" } = sequence;
  const usage = { promptTokens, completionTokens: choices.length, cachedTokens };
  const routes = sequence.routes.length > 0 ? { routes: routesOf(sequence) } : {};
  return { kind: "completion", index, prompt, text, ids, finishReason, usage, ...routes };
}

/** Text of one completion, let out piece by piece. */
class CompletionText {
  readonly #stream: TextStream;
  readonly #watch: StopWatch;
  all = "";

  constructor(stream: TextStream, watch: StopWatch) {
    this.#stream = stream;
    this.#watch = watch;
  }
  get stopped(): boolean {
    return this.#watch.stopped;
  }
  push(id: number): string {
    return this.#out(this.#watch.push(this.#stream.push(id)));
  }
  /** What was held back; a character that never became whole is left out. */
  end(): string {
    const rest = this.#watch.push(this.#stream.flush().replace(/\uFFFD+$/u, ""));
    return this.#out(rest + this.#watch.flush());
  }
  #out(text: string): string {
    this.all += text;
    return text;
  }
}

function promptsOf(prompt: Prompt | readonly Prompt[]): readonly Prompt[] {
  const isOne = typeof prompt === "string" || typeof prompt[0] === "number";
  const prompts = (isOne ? [prompt] : prompt) as readonly Prompt[];
  if (prompts.length > 0) return prompts;
  throw new DataError({ what: "There is no prompt.", fix: "Give a text, token ids, or a list of either." });
}

/** One completion as tokens. */
export interface GeneratedTokens {
  /** Without the token that ended it. */
  readonly ids: readonly number[];
  readonly finishReason: FinishReason;
  /** One for each id, and one for the ending token. */
  readonly choices: readonly Choice[];
  readonly routes?: Routes;
}

export interface BatchControl {
  readonly signal?: AbortSignal;
  /** Prompts decoded side by side. Default 16. */
  readonly batchSize?: number;
  /** Ends a completion when it holds of the tokens so far. */
  readonly until?: (ids: readonly number[], prompt: number) => boolean;
  /** Called after each batch with the number of prompts done. */
  readonly onProgress?: (done: number) => void;
}

/** Completions of many prompts of token ids, n for each, in the prompts' order: for evaluation. Prompts of like length
 *  share a batch. */
export async function generateBatch(
  model: Model,
  prompts: readonly (readonly number[])[],
  { signal, batchSize = 16, until, onProgress, ...options }: GenerationOptions & BatchControl = {},
): Promise<GeneratedTokens[]> {
  const settings = generationSettings(options, model.base.checkpoint);
  const byLength = prompts.map((_, i) => i).sort((a, b) => prompts[b]!.length - prompts[a]!.length || a - b);
  const all = sequencesFor(model, prompts, settings);
  const decoder = new Decoder(model);
  for (let start = 0; start < prompts.length; start += batchSize) {
    const batch = byLength.slice(start, start + batchSize);
    const sequences = batch.flatMap((prompt, row) =>
      all.slice(prompt * settings.n, (prompt + 1) * settings.n).map((sequence) => ({ ...sequence, prompt: row })),
    );
    const chosen = batch.map((prompt) => prompts[prompt]!);
    for await (const tokens of decodedSteps(decoder, chosen, sequences, settings, signal)) {
      if (!until) continue;
      for (const { sequence } of tokens) if (until(sequence.ids, batch[sequence.prompt]!)) sequence.finishReason ??= "stop";
    }
    for (const sequence of sequences) all[sequence.index] = sequence;
    onProgress?.(Math.min(start + batchSize, prompts.length));
  }
  return all.map((sequence) => ({
    ids: sequence.ids,
    finishReason: sequence.finishReason ?? "length",
    choices: sequence.choices,
    ...(settings.routes && { routes: routesOf(sequence) }),
  }));
}
