/** @file The points under /skein: generation with ids, routes and alternatives in a stream of plain events; scores of experts that lost; which expert
 *  knows a text; the pool's cards and curves; an evaluation's results and samples. */

import type { z } from "zod";
import { describedMethods } from "../../methods/describe.ts";
import type { ChatMessage } from "../../text/chat.ts";
import type { PromptInput } from "../backend.ts";
import { noPool, problemOf } from "../problem.ts";
import { routingOf, tokensAsked } from "./sampling.ts";
import { begin, type Call, type Caller, type Service } from "./service.ts";
import type { Shelf } from "./shelf.ts";
import type { generateRequest, inspectRequest, probeRequest, samplesRequest } from "./skein-schemas.ts";
import { errorBody, type SseEvent, sseResponse } from "./sse.ts";

type Prompt = z.output<typeof generateRequest>["prompt"];
const STANDARD_TOKENS = 128;

function inputOf(prompt: Prompt): PromptInput {
  if (!("messages" in prompt)) return prompt;
  return { chat: { messages: prompt.messages as readonly ChatMessage[], opensTurn: true, continuesLast: false } };
}

/** What a page needs to know first. */
export async function world({ backend, limits }: Service, shelf: Shelf, version: string) {
  const [models, { chat_template: template }] = await Promise.all([backend.models(), backend.tokenizerInfo()]);
  return {
    version,
    models,
    methods: describedMethods(),
    chats: template !== null && template !== undefined,
    maxTokens: limits.maxTokens,
    has: { results: shelf.hasResults, curves: shelf.hasCurves },
    examples: await shelf.examples(),
  };
}

export async function generateEvents(service: Service, caller: Caller, request: z.output<typeof generateRequest>): Promise<Response> {
  const { model, routing, prompt, maxTokens, temperature, seed, stop, forced, top = 0 } = request;
  const { maxTokens: most } = service.limits;
  const call = await begin(service, caller, {
    model,
    routing: routingOf(routing),
    prompts: [inputOf(prompt)],
    routes: true,
    tokenLimit: most,
    forced,
    options: {
      maxNewTokens: tokensAsked(maxTokens, most, "maxTokens") ?? Math.min(STANDARD_TOKENS, most),
      logprobs: top,
      ...(temperature !== undefined && { temperature }),
      ...(seed !== undefined && { seed }),
      ...(stop !== undefined && stop.length > 0 && { stop }),
    },
  });
  const failed = (error: unknown) => [{ event: "error", data: errorBody(problemOf(error)) }];
  return sseResponse(eventsOf(call), { cancel: call.cancel, failed });
}

async function* eventsOf({ accepted, events }: Call): AsyncGenerator<SseEvent> {
  const { experts, promptTokens } = accepted;
  yield { event: "accepted", data: { experts, promptTokens } };
  let isFirst = true;
  for await (const event of events) {
    if (event.kind === "finished") {
      const { reason, completionTokens, cachedTokens, promptRoute } = event;
      yield { event: "finished", data: { reason, completionTokens, cachedTokens, ...(promptRoute && { promptRoute }) } };
      continue;
    }
    if (event.kind === "prompt") continue; // this route echoes nothing
    const { id, text, score, route } = event;
    const token = route?.tokens[0];
    const names = isFirst && route ? { modules: route.modules } : {};
    isFirst = false;
    yield { event: "token", data: { id, text, ...score, ...names, ...(token && { experts: token.experts, weights: token.weights }) } };
  }
}

/** The whole prompt and answer are computed once, which takes a place among the requests. */
export async function inspect({ backend, load }: Service, _: Caller, request: z.output<typeof inspectRequest>) {
  const { model, routing, prompt, answer, at } = request;
  const giveBack = load.take(1);
  try {
    return await backend.inspect({ model, routing: routingOf(routing), prompt: inputOf(prompt), answer, at });
  } finally {
    giveBack();
  }
}

/** One run for each expert alone, which takes a place among the requests. */
export async function probe({ backend, load }: Service, _: Caller, request: z.output<typeof probeRequest>) {
  const giveBack = load.take(1);
  try {
    return await backend.probe(request);
  } finally {
    giveBack();
  }
}

export async function pool({ backend }: Service, shelf: Shelf) {
  const cards = await backend.poolCards();
  if (!cards) throw noPool();
  return { ...cards, curves: await shelf.curves() };
}

export async function samples(shelf: Shelf, { task, methods, from = 0, count = 100 }: z.output<typeof samplesRequest>) {
  return shelf.samples({ task, methods, from, count });
}
