import { expect, test } from "vitest";
import type { ToolStyle } from "../backend.ts";
import { type Found, toolReader } from "./tool-reader.ts";

/** All that a reader finds in a text, in pieces of every size: the same each time. */
function read(style: ToolStyle, text: string, isForced = false) {
  const results = [1, 2, 3, 7, text.length].map((size) => {
    const reader = toolReader(style, isForced);
    const found: Found[] = [];
    for (let at = 0; at < text.length; at += size) found.push(...reader.push(text.slice(at, at + size)));
    found.push(...reader.end());
    const texts = found.flatMap((one) => (one.kind === "text" ? one.text : [])).join("");
    const calls = found.flatMap((one) => (one.kind === "call" ? [[one.call.name, one.call.arguments]] : []));
    return { texts, calls };
  });
  for (const result of results) expect(result).toEqual(results[0]);
  return results[0]!;
}

test("Hermes and Qwen: text before calls, several calls, one without its end", () => {
  const call = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": "<x>"}}\n</tool_call>';
  expect(read("hermes", `Let me see.\n${call}\n${call}`)).toEqual({
    texts: "Let me see.",
    calls: [
      ["add", '{"a":1,"b":"<x>"}'],
      ["add", '{"a":1,"b":"<x>"}'],
    ],
  });
  expect(read("hermes", '<tool_call>\n{"name": "add", "arguments": {}}').calls).toEqual([["add", "{}"]]);
  expect(read("hermes", "a < b and <tool>")).toEqual({ texts: "a < b and <tool>", calls: [] });
  expect(read("hermes", "<tool_call>no json</tool_call>")).toEqual({ texts: "<tool_call>no json</tool_call>", calls: [] });
});

test("Llama 3: a bare object, a tag before it, functions in tags, and text that only begins like one", () => {
  expect(read("llama3", '{"name": "add", "parameters": {"a": 1}}').calls).toEqual([["add", '{"a":1}']]);
  expect(read("llama3", '<|python_tag|>{"name": "a", "parameters": {}}; {"name": "b", "parameters": {}}').calls).toEqual([
    ["a", "{}"],
    ["b", "{}"],
  ]);
  expect(read("llama3", '<function=add>{"a": 1}</function>').calls).toEqual([["add", '{"a":1}']]);
  expect(read("llama3", '{"answer": 4}')).toEqual({ texts: '{"answer": 4}', calls: [] });
  expect(read("llama3", "Four.")).toEqual({ texts: "Four.", calls: [] });
});

test("Mistral: lists of calls, and names before arguments", () => {
  expect(read("mistral", '[TOOL_CALLS] [{"name": "add", "arguments": {"a": [1, 2]}}, {"name": "sub", "arguments": {}}]').calls).toEqual([
    ["add", '{"a":[1,2]}'],
    ["sub", "{}"],
  ]);
  expect(read("mistral", '[TOOL_CALLS]add[ARGS]{"a": 1}[TOOL_CALLS]sub[ARGS]{}').calls).toEqual([
    ["add", '{"a":1}'],
    ["sub", "{}"],
  ]);
  expect(read("mistral", "See [TOOLS].")).toEqual({ texts: "See [TOOLS].", calls: [] });
});

test("a forced call is all of the text", () => {
  expect(read("hermes", '{"name": "add", "arguments": {}}', true).calls).toEqual([["add", "{}"]]);
  expect(read("mistral", '[{"name": "add", "arguments": {}}]', true).calls).toEqual([["add", "{}"]]);
});
