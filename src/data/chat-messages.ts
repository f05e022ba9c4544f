/** @file One message of a chat row, in OpenAI's words or ShareGPT's, as a template reads it.
 *
 *  weight, loss and train say whether a turn of the assistant is learned. Calls of tools come as tool_calls, as OpenAI's older
 *  function_call, or as a message of their own; their arguments as objects or as JSON text. Other fields of a message are skipped
 *  and counted. */

import * as z from "zod";
import { DataError } from "../base/errors.ts";
import { JsonNumber } from "../base/json.ts";
import { type ChatMessage, REASONING_KEYS } from "../text/chat.ts";
import { callOf, isObject, toolCalls } from "../text/tool-calls.ts";
import type { DataRecord } from "./row.ts";
import type { RowNotes } from "./row-notes.ts";

export interface ReadMessage {
  readonly message: ChatMessage;
  /** Whether the message is learned, if it is the assistant's. */
  readonly isLearned: boolean;
}
export interface MessagePlace {
  /** The row, for messages. */
  readonly where: string;
  readonly notes: RowNotes;
}

const ROLES: Readonly<Record<string, string>> = {
  system: "system",
  developer: "system",
  user: "user",
  human: "user",
  assistant: "assistant",
  gpt: "assistant",
  tool: "tool",
  function: "tool",
  observation: "tool",
  tool_response: "tool",
};
/** Roles of messages that are a call and nothing else. */
const CALLS: ReadonlySet<string> = new Set(["function_call", "tool_call"]);

// Content in parts (OpenAI) is joined; parts other than text have no meaning for a language model of text.
const contentSchema = z.union([
  z.string(),
  z.null().transform(() => ""),
  z.undefined().transform(() => ""),
  z.array(z.object({ type: z.literal("text"), text: z.string() })).transform((parts) => parts.map((part) => part.text).join("")),
]);

const SWITCHES = ["weight", "loss", "train", "training", "loss_scale"] as const;
const PASSED_ON = ["name", "tool_call_id", ...REASONING_KEYS] as const;
const KNOWN: ReadonlySet<string> = new Set([..."role from content value tool_calls function_call".split(" "), ...SWITCHES, ...PASSED_ON]);

/** Reads a message; `index` counts from 0. */
export function readMessage(raw: unknown, index: number, { where: row, notes }: MessagePlace): ReadMessage {
  const where = `${row}, message ${index + 1}`;
  if (!isObject(raw)) throw badMessage(`A message must be an object, not ${raw === null ? "null" : `a ${typeof raw}`}.`, where);
  const given = String(raw.role ?? raw.from ?? "");
  const role = CALLS.has(given) ? "assistant" : ROLES[given];
  if (role === undefined) {
    const known = [...Object.keys(ROLES), ...CALLS].join(", ");
    throw badMessage(`role ${JSON.stringify(raw.role ?? raw.from)} is not known; known are ${known}.`, where);
  }
  for (const [key, value] of Object.entries(raw)) {
    if (!KNOWN.has(key) && !isEmpty(value)) notes.passedOver(key, "message");
  }
  const isLearned = switchOf(raw, { role, where, notes });
  const text = contentOf("content" in raw ? raw.content : raw.value, where);
  const calls = CALLS.has(given) ? [functionCall(callOf(text, where))] : callsOf(raw, { where, notes });
  const fields = PASSED_ON.filter((name) => raw[name] !== undefined && raw[name] !== null).map((name) => [name, raw[name]]);
  return {
    message: { role, content: CALLS.has(given) ? "" : text, ...Object.fromEntries(fields), ...(calls && { tool_calls: calls }) },
    isLearned,
  };
}

function contentOf(value: unknown, where: string): string {
  const content = contentSchema.safeParse(value);
  if (content.success) return content.data;
  throw badMessage("content is neither text nor a list of texts.", where);
}

/** tool_calls, and OpenAI's older function_call as one of them. */
function callsOf({ tool_calls, function_call }: DataRecord, { where, notes }: MessagePlace): readonly DataRecord[] | undefined {
  const clean = (value: unknown) => withoutNulls(value, notes);
  const calls = toolCalls(clean(tool_calls ?? undefined), where) ?? [];
  const older = function_call === undefined || function_call === null ? [] : [functionCall(callOf(clean(function_call), where))];
  return calls.length + older.length > 0 ? [...calls, ...older] : undefined;
}

const functionCall = (call: DataRecord): DataRecord => ({ type: "function", function: call });

/** Whether weight, loss or train let a turn be learned. */
function switchOf(raw: DataRecord, { role, where, notes }: MessagePlace & { role: string }): boolean {
  if (raw.train_detail !== undefined && raw.train_detail !== null) {
    throw badMessage("train_detail selects parts of a message, but a turn cannot be learned in part.", where);
  }
  let isLearned = true;
  for (const name of SWITCHES) {
    const value = raw[name] instanceof JsonNumber ? Number(raw[name]) : raw[name];
    if (value === undefined || value === null) continue;
    const isOn = value === true || value === 1;
    if (!isOn && value !== false && value !== 0) {
      throw badMessage(
        `${name} is ${JSON.stringify(value)}; it must be 1 or true (the turn is learned), or 0 or false (it is not).`,
        where,
      );
    }
    if (isOn && role !== "assistant") notes.passedOver(`${name} of role ${role}`, "message"); // only the assistant is learned
    isLearned &&= isOn;
  }
  return isLearned;
}

/** An object without the nulls that column formats fill in where another row has a value; texts of JSON stay as they are. */
export function withoutNulls(value: unknown, notes: RowNotes): unknown {
  if (Array.isArray(value)) return value.map((item: unknown) => withoutNulls(item, notes));
  if (!isObject(value) || value instanceof JsonNumber) return value;
  const kept = Object.entries(value).filter(([key, item]) => {
    if (item === null) notes.droppedNull(key);
    return item !== null;
  });
  return Object.fromEntries(kept.map(([key, item]) => [key, withoutNulls(item, notes)]));
}

const isEmpty = (value: unknown): boolean => value === null || value === undefined || (Array.isArray(value) && value.length === 0);

function badMessage(what: string, where: string): DataError {
  return new DataError({
    code: "data-bad-row",
    what,
    where,
    fix: 'Write messages as {"role": "user", "content": text} or {"from": "human", "value": text}.',
  });
}
