/** @file POST /v1/completions: texts and token ids go on; `echo` reports the prompt's own log-probabilities. */

import type { z } from "zod";
import type { PromptInput, PromptScore, RouteTable, ScoreRequest, TokenScore } from "../backend.ts";
import { badField, problemOf } from "../problem.ts";
import { type Finished, promptRouteFields, routeFields, seconds, textLogprobs, usageOf } from "./choice-fields.ts";
import { routingOf, samplingOf, tokensAsked } from "./sampling.ts";
import type { completionRequest } from "./schemas.ts";
import { type Accepted, begin, type Call, type Caller, type LaterEvent, type Service } from "./service.ts";
import { errorBody, type SseEvent, sseResponse } from "./sse.ts";

type Request = z.output<typeof completionRequest>;
const STANDARD_TOKENS = 16; // OpenAI's

interface Head {
  readonly id: string;
  readonly object: "text_completion";
  readonly created: number;
  readonly model: string;
}

interface Choice {
  text: string;
  readonly tokens: { readonly token: string; readonly score?: TokenScore }[];
  readonly routes: RouteTable[];
  finished?: Finished;
}

export async function complete(service: Service, caller: Caller, request: Request): Promise<Response> {
  const { model, echo = false, logprobs, n = 1, best_of: best = n, stream = false, return_routed_experts: routes = false } = request;
  if (best !== n) throw badField("best_of", "best_of must be n: this server ranks no completions.", "unsupported_value");
  const prompts = promptsOf(request.prompt);
  const routing = routingOf(request.routing);
  const asked =
    tokensAsked(request.max_tokens, service.limits.maxTokens, "max_tokens") ?? Math.min(STANDARD_TOKENS, service.limits.maxTokens);
  const head: Head = { id: `cmpl-${caller.id}`, object: "text_completion", created: seconds(), model };
  const top = echo ? logprobs : undefined;
  if (asked === 0) return Response.json(scoresAlone(head, await scored(service, { model, routing, prompts, top }), { n, echo, logprobs }));
  const call = await begin(service, caller, {
    model,
    routing,
    prompts,
    routes,
    ...(echo && { echo: { top } }),
    tokenLimit: service.limits.maxTokens,
    options: { ...samplingOf(request), maxNewTokens: asked, ...(logprobs !== undefined && { logprobs }) },
  });
  const form = { head, logprobs: logprobs !== undefined, n, count: prompts.length * n };
  if (stream) {
    const usage = request.stream_options?.include_usage === true;
    const failed = (error: unknown) => [{ data: errorBody(problemOf(error)) }];
    return sseResponse(chunks(call, form, usage), { cancel: call.cancel, failed, closing: "[DONE]" });
  }
  return Response.json(await whole(call, form));
}

export function promptsOf(prompt: string | readonly number[] | readonly string[] | readonly (readonly number[])[]): PromptInput[] {
  if (typeof prompt === "string") return [{ text: prompt }];
  if (typeof prompt[0] === "number") return [{ ids: prompt as readonly number[] }];
  return (prompt as readonly (string | readonly number[])[]).map((one) => (typeof one === "string" ? { text: one } : { ids: one }));
}

/** Prompts' own scores; they take a place each while they are computed. */
async function scored({ backend, load }: Service, request: ScoreRequest): Promise<readonly PromptScore[]> {
  const giveBack = load.take(request.prompts.length);
  try {
    return await backend.score(request);
  } finally {
    giveBack();
  }
}

function scoresAlone(
  head: Head,
  scores: readonly PromptScore[],
  { n, echo, logprobs }: { n: number; echo: boolean; logprobs: number | undefined },
) {
  const choices = scores.flatMap((score, prompt) =>
    Array.from({ length: n }, (_, completion) => ({
      index: prompt * n + completion,
      text: echo ? score.text : "",
      logprobs: logprobs === undefined ? null : textLogprobs(echo ? score.tokens : [], 0),
      finish_reason: "length",
    })),
  );
  const promptTokens = scores.reduce((sum, { tokens }) => sum + tokens.length, 0);
  return { ...head, choices, usage: usageOf({ promptTokens }, []) };
}

interface Form {
  readonly head: Head;
  readonly logprobs: boolean;
  /** Completions of each prompt. */
  readonly n: number;
  readonly count: number;
}

async function whole({ accepted, events }: Call, { head, logprobs, n, count }: Form) {
  const all = Array.from({ length: count }, (): Choice => ({ text: "", tokens: [], routes: [] }));
  const echoed: PromptScore[] = [];
  for await (const event of events) {
    if (event.kind === "prompt") {
      echoed[event.prompt] = event.score;
      continue;
    }
    const choice = all[event.index]!;
    if (event.kind === "finished") choice.finished = event;
    else take(choice, event, logprobs);
  }
  const choices = all.map(({ text, tokens, routes, finished }, index) => {
    const before = echoed[Math.floor(index / n)];
    return {
      index,
      text: `${before?.text ?? ""}${text}`,
      logprobs: logprobs ? textLogprobs([...(before?.tokens ?? []), ...tokens], 0) : null,
      finish_reason: finished?.reason ?? null,
      ...merged(routeFields(routes, accepted.experts), promptRouteFields(finished?.promptRoute)),
    };
  });
  return {
    ...head,
    choices,
    usage: usageOf(
      accepted,
      all.flatMap(({ finished }) => finished ?? []),
    ),
  };
}

function take(choice: Choice, event: Extract<LaterEvent, { kind: "token" }>, logprobs: boolean): void {
  choice.text += event.text;
  if (logprobs && event.score) choice.tokens.push({ token: event.score.token, score: event.score });
  if (event.route) choice.routes.push(event.route);
}

/** Both fields' parts of `skein` in one. */
export function merged<A extends { skein?: object }, B extends { skein?: object }>(a: A, b: B) {
  const skein = { ...a.skein, ...b.skein };
  return { ...a, ...b, ...(Object.keys(skein).length > 0 && { skein }) };
}

async function* chunks({ accepted, events }: Call, { head, logprobs, n, count }: Form, withUsage: boolean): AsyncGenerator<SseEvent> {
  const finished: Finished[] = [];
  const lengths = Array.from({ length: count }, () => 0); // characters so far
  const routed = new Set<number>();
  const chunk = (index: number, text: string, fields: object) => ({
    data: {
      ...head,
      choices: [{ index, text, logprobs: null, finish_reason: null, ...fields }],
      ...(withUsage && { usage: null }),
    },
  });
  for await (const event of events) {
    if (event.kind === "prompt") {
      const { text, tokens } = event.score;
      for (let index = event.prompt * n; index < (event.prompt + 1) * n; index++) {
        yield chunk(index, text, { logprobs: logprobs ? textLogprobs(tokens, 0) : null });
        lengths[index] = [...text].length;
      }
      continue;
    }
    const { index } = event;
    if (event.kind === "finished") {
      finished.push(event);
      yield chunk(index, "", { finish_reason: event.reason, ...promptRouteFields(event.promptRoute) });
      continue;
    }
    const { text, score, route } = event;
    if (text === "" && !score && !route) continue;
    yield chunk(index, text, {
      ...(score && { logprobs: textLogprobs([{ token: score.token, score }], lengths[index]!) }),
      ...routeFields(route ? [route] : [], accepted.experts, { withNames: !routed.has(index) }),
    });
    routed.add(index);
    lengths[index]! += [...(score?.token ?? text)].length;
  }
  if (withUsage) yield { data: { ...head, choices: [], usage: usageOf(accepted, finished) } };
}

export type { Accepted };
