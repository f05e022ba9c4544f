/** @file Parts of an answer that several routes write: log-probabilities in both of OpenAI's forms, routes, usage. */

import type { RouteTable, ScoredToken, TokenScore } from "../backend.ts";
import type { Accepted, LaterEvent } from "./service.ts";

export type Finished = Extract<LaterEvent, { kind: "finished" }>;

export interface TextLogprobs {
  tokens: string[];
  token_logprobs: (number | null)[];
  top_logprobs: (Record<string, number> | null)[];
  text_offset: number[];
}

/** The form of /v1/completions. `offset`: where the first token stands in the answer's text. */
export function textLogprobs(tokens: readonly { readonly token: string; readonly score?: TokenScore }[], offset: number): TextLogprobs {
  let at = offset;
  const offsets = tokens.map(({ token }) => {
    const own = at;
    at += [...token].length; // Python counts characters
    return own;
  });
  return {
    tokens: tokens.map(({ token }) => token),
    token_logprobs: tokens.map(({ score }) => score?.logprob ?? null),
    top_logprobs: tokens.map(({ score }) => (score ? topOf(score) : null)),
    text_offset: offsets,
  };
}

/** The likeliest tokens and the chosen one, by their text; of two that read the same, the likelier. */
function topOf({ token, logprob, top }: TokenScore): Record<string, number> {
  const all: Record<string, number> = {};
  for (const one of [...top, { token, logprob }]) all[one.token] ??= one.logprob;
  return all;
}

/** The form of /v1/chat/completions. */
export function chatLogprob({ top, ...own }: TokenScore) {
  return { ...told(own), top_logprobs: top.map(told) };
}
function told({ token, bytes, logprob }: ScoredToken) {
  return { token, logprob: Math.max(logprob, -9999), bytes };
}

/** The routes of consecutive tokens, in vLLM's names; modules, names and weights are ours. */
export function routeFields(routes: readonly RouteTable[], experts: readonly string[], { withNames = true } = {}) {
  const [first] = routes;
  if (!first) return {};
  const tokens = routes.flatMap((table) => table.tokens);
  const names = withNames ? { modules: first.modules, experts } : {};
  return { routed_experts: tokens.map((token) => token.experts), skein: { ...names, weights: tokens.map(({ weights }) => weights) } };
}
export function promptRouteFields(table: RouteTable | undefined) {
  if (!table) return {};
  return {
    prompt_routed_experts: table.tokens.map(({ experts }) => experts),
    skein: { prompt_modules: table.modules, prompt_weights: table.tokens.map(({ weights }) => weights) },
  };
}

export function usageOf({ promptTokens }: Pick<Accepted, "promptTokens">, finished: readonly Finished[]) {
  const completion = finished.reduce((sum, { completionTokens }) => sum + completionTokens, 0);
  const cached = finished.reduce((most, { cachedTokens }) => Math.max(most, cachedTokens), 0);
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completion,
    total_tokens: promptTokens + completion,
    prompt_tokens_details: { cached_tokens: Math.min(cached, promptTokens) },
  };
}

export function seconds(): number {
  return Math.floor(Date.now() / 1000);
}
