/** @file The likelihood of given texts under a model: the functions of lm-evaluation-harness.
 *
 *    loglikelihood          sum over the continuation's tokens of log p(token | context, tokens before)
 *    rollingLoglikelihood   the same over a whole document, in windows of the model's length
 *    generateUntil          greedy text up to the first of some strings */

import { invariant } from "../../base/errors.ts";
import { generateBatch } from "../../generation/generate.ts";
import type { Model } from "../../inference/model.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import type { Example } from "../tasks/task.ts";
import { encodeContext, encodePair, endsOfTurns } from "./encode.ts";
import { longestPrompt, longestSequence } from "./length.ts";
import { emptyContext, type Likelihood, lastOf, type ScorerOptions, scoreTokens } from "./score-tokens.ts";
import { untilTexts } from "./until.ts";

/** A text, and what may follow it. What separates them belongs to either; tokens are cut as lm-evaluation-harness cuts them. */
export interface TextPair {
  readonly context: string;
  readonly continuation: string;
}
/** Log-likelihood of each continuation after its context. */
export async function loglikelihood(
  model: Model,
  tokenizer: Tokenizer,
  pairs: readonly TextPair[],
  options: ScorerOptions = {},
): Promise<Likelihood[]> {
  const groups = new Map<string, { request: { context: readonly number[]; continuations: number[][] }; pairs: number[] }>();
  pairs.forEach((pair, i) => {
    const { context, continuation } = encodePair(tokenizer, model.base.architecture, pair);
    const key = context.join();
    const group = groups.get(key) ?? { request: { context, continuations: [] }, pairs: [] };
    groups.set(key, group);
    group.request.continuations.push(continuation);
    group.pairs.push(i);
  });
  const scored = await scoreTokens(
    model,
    [...groups.values()].map(({ request }) => request),
    options,
  );
  const results: Likelihood[] = [];
  [...groups.values()].forEach((group, g) => {
    group.pairs.forEach((pair, c) => {
      results[pair] = scored[g]![c]!;
    });
  });
  return results;
}

/** The windows of a document, as the harness cuts it. Every token is predicted once. Each window after the first has as much
 *  context as fits, and at least `contextLength` tokens. */
export function rollingWindows(
  tokens: readonly number[],
  { prefix, maxLength, contextLength = 1 }: { prefix: number; maxLength: number; contextLength?: number },
): { readonly context: readonly number[]; readonly continuation: readonly number[] }[] {
  invariant(contextLength >= 1 && contextLength <= maxLength, "a window's context is at least one token and fits the window");
  const windows = [];
  const fresh = maxLength - contextLength + 1;
  for (let done = 0; done < tokens.length; ) {
    const count = Math.min(tokens.length - done, done === 0 ? maxLength : fresh);
    const end = done + count;
    // The last token is only predicted, so a window feeds maxLength tokens.
    const context = done === 0 ? [prefix] : tokens.slice(Math.max(0, end - maxLength - 1), done);
    windows.push({ context, continuation: tokens.slice(done, end) });
    done = end;
  }
  return windows;
}

/** Log-likelihood of whole documents.
 *  @throws ShapeError where the tokenizer has neither a bos nor an eos token to start from, StoppedError when the signal aborts. */
export async function rollingLoglikelihood(
  model: Model,
  tokenizer: Tokenizer,
  documents: readonly string[],
  options: ScorerOptions & { contextLength?: number } = {},
): Promise<Likelihood[]> {
  const maxLength = options.maxLength ?? longestSequence(model) ?? 2048; // the harness's default for models without a limit
  const prefix = tokenizer.bosId ?? tokenizer.eosId;
  if (prefix === undefined) throw emptyContext();
  const cut = { prefix, maxLength, ...(options.contextLength ? { contextLength: options.contextLength } : {}) };
  const windows = documents.map((text) => rollingWindows(tokenizer.encode(text, { addSpecialTokens: false }), cut));
  const requests = windows.flat().map(({ context, continuation }) => ({ context, continuations: [continuation] }));
  const scores = (await scoreTokens(model, requests, { ...options, maxLength })).flat();
  const owners = windows.flatMap((own, document) => own.map(() => document));
  return documents.map((_, document) => total(scores.filter((_, i) => owners[i] === document)));
}

function total(parts: readonly Likelihood[]): Likelihood {
  return {
    sum: parts.reduce((sum, part) => sum + part.sum, 0),
    tokens: parts.reduce((sum, part) => sum + part.tokens, 0),
    isGreedy: parts.every((part) => part.isGreedy),
  };
}

export interface GenerateRequest {
  readonly input: string;
  /** Generation stops before the first of these. */
  readonly until: readonly string[];
  /** New tokens at most. */
  readonly maxTokens: number;
}

/** Greedy completions, cut before the first stop string. All requests of a call share one `maxTokens`. A prompt that leaves
 *  no room for the completion is cut at its beginning. */
export async function generateUntil(
  model: Model,
  tokenizer: Tokenizer,
  requests: readonly Pick<Example, "input" | "isRendered">[],
  {
    until,
    maxTokens,
    maxInputTokens,
    ...options
  }: Omit<GenerateRequest, "input"> & ScorerOptions & { maxInputTokens?: number | undefined },
): Promise<string[]> {
  const { batchSize, maxLength, signal, onProgress } = options;
  const longest = longestPrompt(model, maxTokens, maxLength);
  const prompts = requests.map(({ input, isRendered }) =>
    lastOf(encodeContext(tokenizer, model.base.architecture, input, { maxTokens: maxInputTokens, isRendered }), longest),
  );
  const texts = untilTexts(tokenizer, until);
  const ends = [...(tokenizer.eosId === undefined ? [] : [tokenizer.eosId]), ...endsOfTurns(model, tokenizer, requests)];
  const settings = {
    temperature: 0,
    repetitionPenalty: 1,
    maxNewTokens: maxTokens,
    stopIds: ends,
    ...(batchSize ? { batchSize } : {}),
    ...(signal ? { signal } : {}),
    ...(until.length > 0 && { until: texts.isOver }),
  };
  const generated = await generateBatch(model, prompts, { ...settings, ...(onProgress && { onProgress }) });
  return generated.map(({ ids }) => texts.textOf(ids));
}
