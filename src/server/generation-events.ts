/** @file What a stream tells of a token and of the end of an answer. */

import type { Choice } from "../generation/sampler.ts";
import type { Sequence, TakenToken } from "../generation/sequence.ts";
import type * as b from "./backend.ts";
import { routeTable } from "./route-tables.ts";
import type { Vocabulary } from "./vocabulary.ts";

export function tokenEvent({ sequence, choice, text, route }: TakenToken, vocabulary: Vocabulary): b.GenerationEvent {
  const { id, logprob, topLogprobs = [] } = choice;
  const score = logprob === undefined ? undefined : scored(vocabulary, { id, logprob }, topLogprobs);
  return {
    kind: "token",
    index: sequence.index,
    id,
    text,
    ...(score && { score }),
    ...(route && { route: routeTable(route, 0, 1) }),
  };
}

export function finishedEvent(sequence: Sequence, promptTokens: number): b.GenerationEvent {
  const { index, choices, cachedTokens, finishReason: reason = "length", routes } = sequence;
  // Behind an encoder, the prompt's routes are the encoder's.
  const isOfPrompt = (module: string) => !module.startsWith("decoder.");
  const promptRoute = routes && routeTable(routes, 0, promptTokens, isOfPrompt);
  return { kind: "finished", index, reason, completionTokens: choices.length, cachedTokens, ...(promptRoute && { promptRoute }) };
}

/** A token with its log-probability and the likeliest others. */
export function scored(
  vocabulary: Vocabulary,
  own: Choice & { readonly logprob: number },
  top: readonly (Choice & { logprob: number })[],
): b.TokenScore {
  const told = ({ id, logprob }: Choice & { readonly logprob: number }): b.ScoredToken => ({
    id,
    token: vocabulary.textOf(id),
    bytes: vocabulary.bytesOf(id),
    logprob,
  });
  return { ...told(own), top: top.map(told) };
}
