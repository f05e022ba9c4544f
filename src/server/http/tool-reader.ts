/** @file Finds calls of tools in a text as it comes (tool-style.ts has the forms). Text outside of calls comes out at once, but for what may
 *  be the beginning of a call; a call comes out when it is whole. What looks like a call and is none comes out as text. */

import type { ToolStyle } from "../backend.ts";

export interface ToolCall {
  readonly name: string;
  /** JSON text of an object. */
  readonly arguments: string;
}
export type Found = { readonly kind: "text"; readonly text: string } | { readonly kind: "call"; readonly call: ToolCall };

export interface ToolReader {
  push(text: string): Found[];
  end(): Found[];
}

/** `isForced`: the text is a call from its first character on, its opening words were in the prompt. */
export function toolReader(style: ToolStyle, isForced = false): ToolReader {
  if (isForced) return whole((text) => callsIn(text.replace(/<\/tool_call>\s*$/, "")));
  if (style === "hermes") return tagged("<tool_call>", "</tool_call>", callsIn);
  if (style === "mistral") return tagged("[TOOL_CALLS]", undefined, mistralCalls);
  return llama();
}

/** All of the text at its end. */
function whole(parse: (text: string) => readonly ToolCall[] | undefined): ToolReader {
  let held = "";
  return {
    push(text) {
      held += text;
      return [];
    },
    end: () => found(held, parse(held)),
  };
}

function found(text: string, calls: readonly ToolCall[] | undefined): Found[] {
  if (calls && calls.length > 0) return calls.map((call) => ({ kind: "call", call }));
  return text === "" ? [] : [{ kind: "text", text }];
}

/** Calls between an opening and a closing; the last one may lack its closing. */
function tagged(open: string, close: string | undefined, parse: (text: string) => readonly ToolCall[] | undefined): ToolReader {
  let held = "";
  let isInside = false;
  let hasCalled = false;
  const texts = (text: string): Found[] => {
    const shown = hasCalled ? text.trimStart() : text; // line ends between calls are no answer
    return shown === "" ? [] : [{ kind: "text", text: shown }];
  };
  const step = (isLast: boolean): Found[] | undefined => {
    if (!isInside) {
      const at = held.indexOf(open);
      if (at >= 0) {
        const before = held.slice(0, at);
        held = held.slice(at + open.length);
        isInside = true;
        return texts(before.trimEnd());
      }
      // Spaces before a call are no part of the answer.
      const keep = isLast ? 0 : Math.max(beginning(held, open), held.length - held.trimEnd().length);
      const out = held.slice(0, held.length - keep);
      held = held.slice(held.length - keep);
      return out === "" ? undefined : texts(out);
    }
    const end = close === undefined ? -1 : held.indexOf(close);
    if (end < 0 && !isLast) return undefined;
    const body = end < 0 ? held : held.slice(0, end);
    held = end < 0 ? "" : held.slice(end + close!.length);
    isInside = false;
    const calls = parse(body);
    hasCalled ||= calls !== undefined && calls.length > 0;
    return found(`${open}${body}${end < 0 ? "" : close}`, calls);
  };
  const run = (isLast: boolean): Found[] => {
    const out: Found[] = [];
    for (let next = step(isLast); next && (held !== "" || next.length > 0); next = step(isLast)) out.push(...next);
    return out;
  };
  return {
    push(text) {
      held += text;
      return run(false);
    },
    end: () => run(true),
  };
}

/** How much of the text's end may be the beginning of a tag, spaces before it too. */
function beginning(text: string, tag: string): number {
  for (let length = Math.min(text.length, tag.length - 1); length > 0; length--) {
    if (!tag.startsWith(text.slice(-length))) continue;
    const before = text.slice(0, -length);
    return length + before.length - before.trimEnd().length;
  }
  return 0;
}

/** A text that begins with a call is one to its end. */
function llama(): ToolReader {
  const OPENINGS = ["<|python_tag|>", "{", "<function="];
  let held = "";
  let isText = false;
  return {
    push(text) {
      if (isText) return [{ kind: "text", text }];
      held += text;
      const start = held.trimStart();
      if (start === "" || OPENINGS.some((open) => start.startsWith(open) || open.startsWith(start))) return [];
      isText = true;
      return [{ kind: "text", text: held }];
    },
    end: () => (isText ? [] : found(held, llamaCalls(held))),
  };
}

function llamaCalls(text: string): readonly ToolCall[] | undefined {
  const [, name, body] = /^\s*<function=([\w.-]+)>([\s\S]*?)<\/function>\s*$/.exec(text) ?? [];
  if (name !== undefined) {
    const value = parsed(body!);
    return isObject(value) ? [{ name, arguments: JSON.stringify(value) }] : undefined;
  }
  return callsIn(
    text
      .trim()
      .replace(/^<\|python_tag\|>/, "")
      .replace(/<\|eom_id\|>$/, ""),
  );
}

function mistralCalls(text: string): readonly ToolCall[] | undefined {
  if (/^\s*\[/.test(text)) return callsIn(text);
  const calls: ToolCall[] = [];
  for (const part of text.split("[TOOL_CALLS]")) {
    const [, name, body] = /^\s*([\w.-]+)\s*(?:\[CALL_ID\][^[]*)?(?:\[ARGS\])?\s*(\{[\s\S]*\})\s*$/.exec(part) ?? [];
    const value = body === undefined ? undefined : parsed(body);
    if (name === undefined || !isObject(value)) return undefined;
    calls.push({ name, arguments: JSON.stringify(value) });
  }
  return calls;
}

/** The calls in a JSON text: one, a list, or several with semicolons between. */
function callsIn(text: string): readonly ToolCall[] | undefined {
  const value = parsed(text);
  const values = value === undefined ? text.split(/;\s*(?=\{)/).map(parsed) : [value].flat();
  const calls = values.map(callOf);
  return calls.length === 0 || calls.includes(undefined) ? undefined : (calls as ToolCall[]);
}

function callOf(value: unknown): ToolCall | undefined {
  if (!isObject(value)) return undefined;
  const { name, arguments: given, parameters } = isObject(value.function) ? value.function : value;
  const args = given ?? parameters ?? {};
  if (typeof name !== "string" || name === "") return undefined;
  if (typeof args === "string") return parsed(args) === undefined ? undefined : { name, arguments: args };
  return isObject(args) ? { name, arguments: JSON.stringify(args) } : undefined;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
