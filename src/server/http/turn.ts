/** @file One turn of an assistant, whichever API asks for it: the backend's request, and what comes back as text and calls. */

import { randomUUID } from "node:crypto";
import type { ChatMessage } from "../../text/chat.ts";
import type { GenerationRequest, RouteTable, TextForm, TokenScore } from "../backend.ts";
import { badField } from "../problem.ts";
import type { Finished } from "./choice-fields.ts";
import type { Call } from "./service.ts";
import { type Found, type ToolReader, toolReader } from "./tool-reader.ts";

export interface FunctionTool {
  readonly type: "function";
  readonly function: { readonly name: string; readonly description?: string | null | undefined; readonly parameters?: unknown };
}
export type ToolChoice = "none" | "auto" | "required" | { readonly type: "function"; readonly function: { readonly name: string } };

export interface TurnRequest {
  readonly messages: readonly ChatMessage[];
  readonly tools?: readonly FunctionTool[] | undefined;
  readonly toolChoice?: ToolChoice | undefined;
  readonly form?: TextForm | undefined;
  readonly templateVariables?: Readonly<Record<string, unknown>> | undefined;
  readonly opensTurn?: boolean;
  readonly continuesLast?: boolean;
}

/** What a turn adds to a request of the backend. */
export function turnOf(turn: TurnRequest): Pick<GenerationRequest, "prompts" | "form" | "showsSpecialTokens"> {
  const { messages, toolChoice = "auto", form, templateVariables, opensTurn = true, continuesLast = false } = turn;
  const tools = toolChoice === "none" || !turn.tools || turn.tools.length === 0 ? undefined : turn.tools;
  const name = typeof toolChoice === "object" ? toolChoice.function.name : undefined;
  const isForced = name !== undefined || toolChoice === "required";
  if (isForced && !tools) throw badField("tool_choice", "A call is wanted, and there are no tools.");
  if (name !== undefined && !tools!.some((tool) => tool.function.name === name))
    throw badField("tool_choice", `There is no tool "${name}".`);
  if (isForced && form)
    throw badField("response_format", "A call of a tool has a form of its own: leave response_format out, or tool_choice.");
  const chat = { messages, tools, templateVariables, opensTurn, continuesLast, ...(isForced && { call: { name } }) };
  return {
    prompts: [{ chat }],
    form,
    ...(tools && { showsSpecialTokens: true }), // some templates mark calls by special tokens
  };
}

export type TurnEvent =
  | {
      readonly kind: "text";
      readonly index: number;
      readonly text: string;
      readonly scores: readonly TokenScore[];
      readonly routes: readonly RouteTable[];
    }
  | { readonly kind: "call"; readonly index: number; readonly at: number; readonly id: string; readonly name: string }
  /** A piece of the JSON text of the last call's arguments. */
  | { readonly kind: "arguments"; readonly index: number; readonly at: number; readonly text: string }
  /** The last call is whole. */
  | { readonly kind: "called"; readonly index: number; readonly at: number }
  | { readonly kind: "finished"; readonly index: number; readonly finished: Finished; readonly reason: "stop" | "length" | "tool_calls" };

/** The turn's events; those of completion `index` in order. Only the first call, where calls may not come side by side. */
export async function* turnEvents(
  { accepted, events }: Call,
  { isForced, isParallel }: { readonly isForced: boolean; readonly isParallel: boolean },
): AsyncGenerator<TurnEvent> {
  const readers = new Map<number, ToolReader>();
  /** How many calls each completion has begun, and those whose last one is not whole. */
  const calls = new Map<number, number>();
  const open = new Set<number>();
  const style = accepted.toolStyle;
  const told = function* (index: number, all: readonly Found[]): Generator<TurnEvent> {
    for (const one of all) {
      const count = calls.get(index) ?? 0;
      if (one.kind === "text") yield { kind: "text", index, text: one.text, scores: [], routes: [] };
      else if (one.kind === "call") {
        calls.set(index, count + 1);
        open.add(index);
        if (isParallel || count === 0) yield { kind: "call", index, at: count, id: callId(), name: one.name };
      } else {
        if (one.kind === "end") open.delete(index);
        if (!isParallel && count > 1) continue;
        const at = count - 1;
        yield one.kind === "end" ? { kind: "called", index, at } : { kind: "arguments", index, at, text: one.text };
      }
    }
  };
  const reasonOf = (index: number, reason: Finished["reason"]) =>
    !calls.has(index) || (reason === "length" && open.has(index)) ? reason : "tool_calls";
  for await (const event of events) {
    if (event.kind === "prompt") continue; // turns do not show their prompts
    const { index } = event;
    if (style && !readers.has(index)) readers.set(index, toolReader(style, isForced));
    const reader = readers.get(index);
    if (event.kind === "finished") {
      if (reader) yield* told(index, reader.end());
      yield { kind: "finished", index, finished: event, reason: reasonOf(index, event.reason) };
      continue;
    }
    const { text, score, route } = event;
    const [scores, routes] = [score ? [score] : [], route ? [route] : []];
    if (!reader) {
      if (text !== "" || score || route) yield { kind: "text", index, text, scores, routes };
      continue;
    }
    if (score || route) yield { kind: "text", index, text: "", scores, routes };
    yield* told(index, reader.push(text));
  }
}

const callId = () => `call_${randomUUID().replaceAll("-", "").slice(0, 24)}`;
