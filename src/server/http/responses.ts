/** @file POST /v1/responses, without a memory: the conversation comes whole, as text, messages and calls, and the answer goes back as items,
 *  at once or in events. */

import { randomUUID } from "node:crypto";
import type { z } from "zod";
import type { ChatMessage } from "../../text/chat.ts";
import type { GenerationRequest, TextForm } from "../backend.ts";
import { problemOf } from "../problem.ts";
import { type Finished, seconds, usageOf } from "./choice-fields.ts";
import type { inputItem, responsesRequest } from "./responses-schema.ts";
import { routingOf, samplingOf, tokensAsked } from "./sampling.ts";
import { begin, type Call, type Caller, type Service } from "./service.ts";
import { type SseEvent, sseResponse } from "./sse.ts";
import { type TurnEvent, turnEvents, turnOf } from "./turn.ts";

type Request = z.output<typeof responsesRequest>;
type Item = z.output<typeof inputItem>;

interface MessageItem {
  readonly id: string;
  readonly type: "message";
  readonly role: "assistant";
  status: "in_progress" | "completed" | "incomplete";
  content: { readonly type: "output_text"; text: string; readonly annotations: readonly []; readonly logprobs: readonly [] }[];
}
interface CallItem {
  readonly id: string;
  readonly type: "function_call";
  readonly call_id: string;
  readonly name: string;
  arguments: string;
  status: "in_progress" | "completed" | "incomplete";
}
type OutputItem = MessageItem | CallItem;

export async function respond(service: Service, caller: Caller, request: Request): Promise<Response> {
  const call = await begin(service, caller, generationOf(request, service.limits.maxTokens));
  const choice = request.tool_choice;
  const isForced = choice === "required" || typeof choice === "object";
  const events = turnEvents(call, { isForced, isParallel: request.parallel_tool_calls ?? true });
  const turn = new Turn(call, request, caller.id);
  const stream = turn.events(events);
  if (request.stream) {
    const failed = (error: unknown) => [turn.failure(problemOf(error))];
    return sseResponse(stream, { cancel: call.cancel, failed });
  }
  for await (const _ of stream) {
    // the turn gathers what it tells
  }
  return Response.json(turn.response());
}

function generationOf(request: Request, most: number): GenerationRequest {
  const { model, instructions, input, tools, tool_choice: choice, max_output_tokens: asked } = request;
  const maxNewTokens = tokensAsked(asked, most, "max_output_tokens");
  const before: ChatMessage[] = instructions === undefined ? [] : [{ role: "system", content: instructions }];
  const said = typeof input === "string" ? [{ role: "user", content: input }] : messagesOf(input);
  return {
    model,
    routing: routingOf(request.routing),
    routes: false,
    tokenLimit: most,
    options: { ...samplingOf(request), ...(maxNewTokens !== undefined && { maxNewTokens }) },
    ...turnOf({
      messages: [...before, ...said],
      tools: tools?.map(({ type, strict: _, ...tool }) => ({ type, function: tool })),
      toolChoice: typeof choice === "object" ? { type: "function", function: { name: choice.name } } : choice,
      form: formOf(request.text?.format),
    }),
  };
}

/** Calls that follow each other are one message of the assistant. */
function messagesOf(items: readonly Item[]): ChatMessage[] {
  const messages: ChatMessage[] = [];
  for (const item of items) {
    if (item.type === "function_call") {
      const { call_id: id, name, arguments: args } = item;
      const made = { id, type: "function", function: { name, arguments: args } };
      const last = messages.at(-1);
      const calls = last?.role === "assistant" ? ((last.tool_calls as object[] | undefined) ?? []) : undefined;
      if (last && calls) messages[messages.length - 1] = { ...last, tool_calls: [...calls, made] };
      else messages.push({ role: "assistant", content: "", tool_calls: [made] });
    } else if (item.type === "function_call_output") messages.push({ role: "tool", tool_call_id: item.call_id, content: item.output });
    else messages.push({ role: item.role, content: item.content });
  }
  return messages;
}

type Format = NonNullable<Request["text"]>["format"];

function formOf(format: Format): TextForm | undefined {
  if (format?.type === "json_object") return { kind: "json" };
  return format?.type === "json_schema" ? { kind: "json-schema", schema: format.schema } : undefined;
}

/** The items of one answer, and the events that tell them. */
class Turn {
  readonly #call: Call;
  readonly #request: Request;
  readonly #id: string;
  readonly #created = seconds();
  readonly #output: OutputItem[] = [];
  #finished: Finished | undefined;
  #number = 0;

  constructor(call: Call, request: Request, id: string) {
    this.#call = call;
    this.#request = request;
    this.#id = `resp_${id}`;
  }

  response(status = this.#status) {
    const { model, instructions, tools, tool_choice, parallel_tool_calls, temperature, top_p, max_output_tokens, metadata, text } =
      this.#request;
    const usage = this.#finished && usageOf(this.#call.accepted, [this.#finished]);
    return {
      id: this.#id,
      object: "response",
      created_at: this.#created,
      status,
      error: null,
      incomplete_details: status === "incomplete" ? { reason: "max_output_tokens" } : null,
      instructions: instructions ?? null,
      max_output_tokens: max_output_tokens ?? null,
      model,
      output: this.#output,
      parallel_tool_calls: parallel_tool_calls ?? true,
      previous_response_id: null,
      reasoning: { effort: null, summary: null },
      store: false,
      temperature: temperature ?? null,
      text: text ?? { format: { type: "text" } },
      tool_choice: tool_choice ?? "auto",
      tools: tools ?? [],
      top_p: top_p ?? null,
      truncation: "disabled",
      usage: usage
        ? {
            input_tokens: usage.prompt_tokens,
            input_tokens_details: usage.prompt_tokens_details,
            output_tokens: usage.completion_tokens,
            output_tokens_details: { reasoning_tokens: 0 },
            total_tokens: usage.total_tokens,
          }
        : null,
      metadata: metadata ?? {},
    };
  }
  get #status(): string {
    if (!this.#finished) return "in_progress";
    return this.#finished.reason === "length" ? "incomplete" : "completed";
  }

  #event(type: string, fields: object): SseEvent {
    return { event: type, data: { type, sequence_number: this.#number++, ...fields } };
  }
  failure({ message, code }: { readonly message: string; readonly code?: string | undefined }): SseEvent {
    const response = { ...this.response("failed"), error: { code: code ?? "server_error", message } };
    return this.#event("response.failed", { response });
  }

  async *events(turn: AsyncIterable<TurnEvent>): AsyncGenerator<SseEvent> {
    yield this.#event("response.created", { response: this.response() });
    yield this.#event("response.in_progress", { response: this.response() });
    let open: MessageItem | undefined;
    let called: CallItem | undefined;
    for await (const event of turn) {
      if (event.kind === "text") {
        if (event.text === "") continue;
        if (!open) {
          open = this.#message();
          yield* this.#opened(open);
        }
        const part = open.content[0]!;
        part.text += event.text;
        yield this.#event("response.output_text.delta", { ...this.#place(open), content_index: 0, delta: event.text, logprobs: [] });
      } else if (event.kind === "arguments") {
        called!.arguments += event.text;
        yield this.#event("response.function_call_arguments.delta", { ...this.#place(called!), delta: event.text });
      } else {
        const isCut = event.kind === "finished" && event.reason === "length";
        if (event.kind === "finished") this.#finished = event.finished;
        if (open) yield* this.#closed(open, isCut);
        if (called) yield* this.#called(called, event.kind === "finished");
        open = undefined;
        called = undefined;
        if (event.kind === "call") {
          called = this.#callItem(event);
          yield this.#event("response.output_item.added", { output_index: this.#output.indexOf(called), item: { ...called } });
        }
      }
    }
    const status = this.#status;
    yield this.#event(status === "incomplete" ? "response.incomplete" : "response.completed", { response: this.response() });
  }

  #place(item: OutputItem) {
    return { item_id: item.id, output_index: this.#output.indexOf(item) };
  }
  #message(): MessageItem {
    const item: MessageItem = {
      id: `msg_${randomUUID().replaceAll("-", "")}`,
      type: "message",
      role: "assistant",
      status: "in_progress",
      content: [],
    };
    this.#output.push(item);
    return item;
  }
  *#opened(item: MessageItem): Generator<SseEvent> {
    const { output_index } = this.#place(item);
    yield this.#event("response.output_item.added", { output_index, item: structuredClone(item) });
    item.content.push({ type: "output_text", text: "", annotations: [], logprobs: [] });
    yield this.#event("response.content_part.added", { ...this.#place(item), content_index: 0, part: { ...item.content[0] } });
  }
  *#closed(item: MessageItem, isCut: boolean): Generator<SseEvent> {
    const part = item.content[0]!;
    item.status = isCut ? "incomplete" : "completed";
    const place = this.#place(item);
    yield this.#event("response.output_text.done", { ...place, content_index: 0, text: part.text, logprobs: [] });
    yield this.#event("response.content_part.done", { ...place, content_index: 0, part });
    yield this.#event("response.output_item.done", { output_index: place.output_index, item });
  }
  #callItem({ id, name }: Extract<TurnEvent, { kind: "call" }>): CallItem {
    const item: CallItem = { id: `fc_${id.slice(5)}`, type: "function_call", call_id: id, name, arguments: "", status: "in_progress" };
    this.#output.push(item);
    return item;
  }
  *#called(item: CallItem, isCut: boolean): Generator<SseEvent> {
    const place = this.#place(item);
    item.status = isCut ? "incomplete" : "completed";
    yield this.#event("response.function_call_arguments.done", { ...place, name: item.name, arguments: item.arguments });
    yield this.#event("response.output_item.done", { output_index: place.output_index, item });
  }
}
