/** @file One completion in the making, as tokens; and the loop that makes many of them side by side. */

import { OptionError } from "../base/errors.ts";
import { derivedSeed, seededRandom } from "../base/random.ts";
import type { Model } from "../inference/model.ts";
import type { Decoder, FirstStep, Step } from "./decoder.ts";
import type { GenerationSettings } from "./options.ts";
import { joinedRoutes, lastRoutes, type Routes } from "./routes.ts";
import { type Choice, Sampler } from "./sampler.ts";

/** "stop": an end-of-sequence token, a stop token or a stop string; "length": as many tokens as allowed. */
export type FinishReason = "stop" | "length";

export interface Sequence {
  /** prompt * n + completion. */
  readonly index: number;
  readonly prompt: number;
  /** Tokens generated, without the one that ended it. */
  readonly ids: number[];
  /** Every choice made, the ending token's included. */
  readonly choices: Choice[];
  readonly sampler: Sampler;
  readonly limit: number;
  finishReason?: FinishReason;
  /** Of tokens fed so far: prompt, then generated. */
  readonly routes: Routes[];
  /** Tokens of the prompt that were in the cache. */
  cachedTokens: number;
}

/** n sequences for each prompt, in order. */
export function sequencesFor(model: Model, prompts: readonly (readonly number[])[], settings: GenerationSettings): Sequence[] {
  const { architecture } = model.base;
  const { n, maxNewTokens } = settings;
  checkIds(settings, architecture.vocabularySize);
  // A given seed makes a prompt's completions the same wherever it stands in a batch.
  const seedOf = (prompt: number, completion: number) =>
    settings.seed === undefined ? derivedSeed(crypto.randomUUID(), prompt, completion) : derivedSeed(settings.seed, completion);
  return prompts.flatMap((ids, prompt) => {
    const decoderOnly = architecture.kind === "decoder-only";
    const room =
      decoderOnly && architecture.maxPositions !== undefined ? architecture.maxPositions - ids.length + 1 : Number.POSITIVE_INFINITY;
    return Array.from({ length: n }, (_, completion) => ({
      index: prompt * n + completion,
      prompt,
      ids: [],
      choices: [],
      sampler: new Sampler(settings, seededRandom(seedOf(prompt, completion)), decoderOnly ? ids : [architecture.decoderStartId]),
      limit: Math.min(maxNewTokens, room),
      routes: [],
      cachedTokens: 0,
    }));
  });
}

function checkIds({ logitBias, stopIds }: GenerationSettings, vocabularySize: number): void {
  const unknown = [...Object.keys(logitBias).map(Number), ...stopIds].find((id) => !(id >= 0 && id < vocabularySize));
  if (unknown === undefined) return;
  throw new OptionError({
    what: `Token id ${unknown} of the logit bias or the stop ids is outside the vocabulary of ${vocabularySize}.`,
    where: "generation options",
    fix: "Give ids of this model's own tokenizer.",
  });
}

export interface TakenToken {
  readonly sequence: Sequence;
  readonly choice: Choice;
  /** The routes of the token it was predicted from. */
  readonly route?: Routes;
}

/** Decodes all sequences to their ends and yields each step's tokens. Whoever reads them may end a sequence by giving it
 *  a finishReason; finished ones leave the batch. */
export async function* decodedSteps(
  decoder: Decoder,
  prompts: readonly (readonly number[])[],
  sequences: readonly Sequence[],
  settings: GenerationSettings,
  signal?: AbortSignal,
): AsyncGenerator<readonly TakenToken[]> {
  signal?.throwIfAborted();
  const ends = new Set([...settings.stopIds, ...(settings.ignoreEos ? [] : settings.eosIds)]);
  const first = await decoder.start(prompts, settings);
  noteStart(first, sequences);
  let step: Step = first;
  let live = sequences.map((sequence) => ({ sequence, row: sequence.prompt }));
  while (live.length > 0) {
    yield live.map(({ sequence, row }) => taken(sequence, step, row, ends));
    signal?.throwIfAborted();
    live = live.filter(({ sequence }) => sequence.finishReason === undefined);
    if (live.length === 0) return;
    decoder.select(live.map(({ row }) => row));
    live = live.map(({ sequence }, row) => ({ sequence, row }));
    step = await decoder.append(live.map(({ sequence }) => [sequence.ids.at(-1)!]));
  }
}

function noteStart({ kept, encoderRoutes }: FirstStep, sequences: readonly Sequence[]): void {
  for (const sequence of sequences) {
    sequence.cachedTokens = kept?.[sequence.prompt] ?? 0;
    if (encoderRoutes) sequence.routes.push(encoderRoutes[sequence.prompt]!);
  }
}

function taken(sequence: Sequence, { logits, routes }: Step, row: number, ends: ReadonlySet<number>): TakenToken {
  const vocabulary = logits.shape[1]!;
  const choice = sequence.sampler.next(logits.data.subarray(row * vocabulary, (row + 1) * vocabulary));
  sequence.choices.push(choice);
  if (ends.has(choice.id)) sequence.finishReason = "stop";
  else sequence.ids.push(choice.id);
  if (sequence.ids.length >= sequence.limit) sequence.finishReason ??= "length";
  if (!routes) return { sequence, choice };
  sequence.routes.push(routes[row]!);
  return { sequence, choice, route: lastRoutes(routes[row]!, 1) };
}

/** All routes of a finished sequence. */
export function routesOf(sequence: Sequence): Routes {
  return joinedRoutes(sequence.routes);
}
