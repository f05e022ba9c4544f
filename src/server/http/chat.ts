/** @file POST /v1/chat/completions. */

import type { z } from "zod";
import type { GenerationRequest, RouteTable, TextForm, TokenScore } from "../backend.ts";
import { badField, problemOf } from "../problem.ts";
import { chatLogprob, type Finished, promptRouteFields, routeFields, seconds, usageOf } from "./choice-fields.ts";
import { merged } from "./completions.ts";
import { routingOf, samplingOf, tokensAsked } from "./sampling.ts";
import type { chatRequest } from "./schemas.ts";
import { begin, type Call, type Caller, type Service } from "./service.ts";
import { errorBody, type SseEvent, sseResponse } from "./sse.ts";
import { type TurnEvent, turnEvents, turnOf } from "./turn.ts";

type Request = z.output<typeof chatRequest>;

export async function chat(service: Service, caller: Caller, request: Request): Promise<Response> {
  const { model, stream = false, tool_choice: toolChoice, parallel_tool_calls: isParallel = true } = request;
  const call = await begin(service, caller, generationOf(request, service.limits.maxTokens));
  const isForced = toolChoice === "required" || typeof toolChoice === "object";
  const events = turnEvents(call, { isForced, isParallel });
  const head = { id: `chatcmpl-${caller.id}`, created: seconds(), model };
  if (!stream) return Response.json(await whole(call, events, head, request));
  const failed = (error: unknown) => [{ data: errorBody(problemOf(error)) }];
  const chunked = chunks(call, events, { ...head, object: "chat.completion.chunk" }, request);
  return sseResponse(chunked, { cancel: call.cancel, failed, closing: "[DONE]" });
}

function generationOf(request: Request, most: number): GenerationRequest {
  const { model, messages, max_tokens: old, max_completion_tokens: asked = old, logprobs = false, top_logprobs: top } = request;
  if (top !== undefined && !logprobs) throw badField("top_logprobs", "top_logprobs needs logprobs: true.");
  const maxNewTokens = tokensAsked(asked, most, "max_completion_tokens");
  return {
    model,
    routing: routingOf(request.routing),
    routes: request.return_routed_experts ?? false,
    tokenLimit: most,
    options: {
      ...samplingOf(request),
      ...(maxNewTokens !== undefined && { maxNewTokens }),
      ...(logprobs && { logprobs: top ?? 0 }),
    },
    ...turnOf({
      messages: messages as GenerationMessages,
      tools: request.tools,
      toolChoice: request.tool_choice,
      form: formOf(request.response_format),
      templateVariables: request.chat_template_kwargs,
      opensTurn: request.add_generation_prompt ?? true,
      continuesLast: request.continue_final_message ?? false,
    }),
  };
}
type GenerationMessages = Parameters<typeof turnOf>[0]["messages"];

function formOf(format: Request["response_format"]): TextForm | undefined {
  if (format?.type === "json_object") return { kind: "json" };
  return format?.type === "json_schema" ? { kind: "json-schema", schema: format.json_schema.schema } : undefined;
}

interface Head {
  readonly id: string;
  readonly created: number;
  readonly model: string;
}
interface ToolCallField {
  readonly id: string;
  readonly type: "function";
  readonly function: { readonly name: string; arguments: string };
}
interface Choice {
  text: string;
  readonly calls: ToolCallField[];
  readonly scores: TokenScore[];
  readonly routes: RouteTable[];
  finished?: Finished;
  reason: string | null;
}

async function whole({ accepted }: Call, events: AsyncIterable<TurnEvent>, head: Head, { n = 1, logprobs = false }: Request) {
  const all = Array.from({ length: n }, (): Choice => ({ text: "", calls: [], scores: [], routes: [], reason: null }));
  for await (const event of events) {
    const choice = all[event.index]!;
    if (event.kind === "text") {
      choice.text += event.text;
      choice.scores.push(...event.scores);
      choice.routes.push(...event.routes);
    } else if (event.kind === "call") choice.calls.push(callField(event));
    else if (event.kind === "arguments") choice.calls[event.at]!.function.arguments += event.text;
    else if (event.kind === "finished") {
      choice.finished = event.finished;
      choice.reason = event.reason;
    }
  }
  const choices = all.map(({ text, calls, scores, routes, finished, reason }, index) => ({
    index,
    message: {
      role: "assistant",
      content: text === "" && calls.length > 0 ? null : text,
      refusal: null,
      ...(calls.length > 0 && { tool_calls: calls }),
    },
    logprobs: logprobs ? { content: scores.map(chatLogprob), refusal: null } : null,
    finish_reason: reason,
    ...merged(routeFields(routes, accepted.experts), promptRouteFields(finished?.promptRoute)),
  }));
  return {
    ...head,
    object: "chat.completion",
    choices,
    usage: usageOf(
      accepted,
      all.flatMap(({ finished }) => finished ?? []),
    ),
  };
}

/** A call whose arguments are to come. */
function callField({ id, name }: Extract<TurnEvent, { kind: "call" }>): ToolCallField {
  return { id, type: "function", function: { name, arguments: "" } };
}

async function* chunks(
  { accepted }: Call,
  events: AsyncIterable<TurnEvent>,
  head: Head & { readonly object: string },
  { n = 1, stream_options: options }: Request,
): AsyncGenerator<SseEvent> {
  const withUsage = options?.include_usage === true;
  const finished: Finished[] = [];
  const routed = new Set<number>();
  const chunk = (index: number, delta: object, fields: object = {}): SseEvent => ({
    data: {
      ...head,
      choices: [{ index, delta, logprobs: null, finish_reason: null, ...fields }],
      ...(withUsage && { usage: null }),
    },
  });
  for (let index = 0; index < n; index++) yield chunk(index, { role: "assistant", content: "", refusal: null });
  for await (const event of events) {
    const { index } = event;
    if (event.kind === "text") {
      const { text, scores, routes } = event;
      const isFirst = routes.length > 0 && !routed.has(index);
      if (routes.length > 0) routed.add(index);
      yield chunk(index, text === "" ? {} : { content: text }, {
        ...(scores.length > 0 && { logprobs: { content: scores.map(chatLogprob), refusal: null } }),
        ...routeFields(routes, accepted.experts, { withNames: isFirst }),
      });
    } else if (event.kind === "call") yield chunk(index, { tool_calls: [{ index: event.at, ...callField(event) }] });
    else if (event.kind === "arguments") yield chunk(index, { tool_calls: [{ index: event.at, function: { arguments: event.text } }] });
    else if (event.kind === "finished") {
      finished.push(event.finished);
      yield chunk(index, {}, { finish_reason: event.reason, ...promptRouteFields(event.finished.promptRoute) });
    }
  }
  if (withUsage) yield { data: { ...head, choices: [], usage: usageOf(accepted, finished) } };
}
