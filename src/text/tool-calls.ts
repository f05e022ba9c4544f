/** @file Tools and tool calls as data files hold them: objects, or JSON text, encoded once or twice. Templates get objects. */

import * as z from "zod";
import { DataError, messageOf } from "../base/errors.ts";
import { parseExactJson } from "../base/json.ts";

type Json = Readonly<Record<string, unknown>>;

/** Reads a list of tools: objects, JSON texts, or one JSON text of the whole list. OpenAI's older functions are wrapped as tools. */
export function toolList(value: unknown, where: string): readonly Json[] | undefined {
  const list = decoded(value, { where, name: "tools" });
  if (list === undefined || list === null || list === "") return undefined;
  const tools = (Array.isArray(list) ? list : [list]).map((item): Json => toolOf(decoded(item, { where, name: "tools" }), where));
  return tools.length > 0 ? tools : undefined;
}

function toolOf(tool: unknown, where: string): Json {
  if (!isObject(tool)) {
    const fix = 'Write a list of {"type": "function", "function": {"name", "description", "parameters"}}.';
    throw new DataError({ code: "data-bad-row", what: `A tool is no object: ${JSON.stringify(tool)?.slice(0, 80)}.`, where, fix });
  }
  const inner = isObject(tool.function) ? tool.function : undefined;
  if (inner) return { ...tool, function: withParameters(inner, where) };
  return withParameters(tool, where);
}

function withParameters(tool: Json, where: string): Json {
  return typeof tool.parameters === "string" ? { ...tool, parameters: decoded(tool.parameters, { where, name: "parameters" }) } : tool;
}

/** A function of OpenAI's older `functions` as a tool. */
export function functionTool(value: Json): Json {
  return { type: "function", function: value };
}

const callSchema = z.looseObject({ name: z.string(), arguments: z.unknown() });

/** The tool calls of a message, with arguments as objects. */
export function toolCalls(value: unknown, where: string): readonly Json[] | undefined {
  const list = decoded(value, { where, name: "tool_calls" });
  if (list === undefined || list === null || list === "") return undefined;
  const calls = (Array.isArray(list) ? list : [list]).map((item) => {
    const call = decoded(item, { where, name: "tool_calls" });
    if (isObject(call) && isObject(call.function)) return { ...call, function: callOf(call.function, where) };
    return callOf(call, where);
  });
  return calls.length > 0 ? calls : undefined;
}

/** One tool call: its name, and its arguments as an object. */
export function callOf(value: unknown, where: string): Json {
  const call = callSchema.safeParse(decoded(value, { where, name: "a call" }));
  if (!call.success) {
    const fix = 'A call is {"name": ..., "arguments": {...}}, the arguments as an object or as its JSON text.';
    throw new DataError({ code: "data-bad-row", what: `This function_call cannot be read: ${shown(value)}`, where, fix });
  }
  const { arguments: given = {}, ...rest } = call.data;
  const args = given === "" || given === null ? {} : decoded(decoded(given, { where, name: "arguments" }), { where, name: "arguments" });
  if (isObject(args)) return { ...rest, arguments: args };
  throw new DataError({
    code: "data-bad-row",
    what: `The arguments of a call of ${call.data.name} are no JSON object: ${shown(given)}`,
    where,
    fix: "Write them as an object, or as the JSON text of one.",
  });
}

const shown = (value: unknown): string => (typeof value === "string" ? value : (JSON.stringify(value) ?? "nothing")).slice(0, 80);

export function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Parses JSON text; returns any other value unchanged. */
export function decoded(value: unknown, { where, name }: { readonly where: string; readonly name: string }): unknown {
  if (typeof value !== "string") return value;
  if (value.trim() === "") return "";
  try {
    return parseExactJson(value);
  } catch (cause) {
    const what =
      name === "a call"
        ? `This function_call cannot be read: ${shown(value)}`
        : `${name} cannot be read as JSON: ${shown(value)} (${messageOf(cause)})`;
    throw new DataError({ code: "data-bad-row", what, where, fix: "Mend the JSON text, or write the value itself.", cause });
  }
}
