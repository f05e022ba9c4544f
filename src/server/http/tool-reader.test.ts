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
    const calls: [string, string][] = [];
    let open = 0;
    for (const one of found) {
      if (one.kind === "call") open = calls.push([one.name, ""]);
      else if (one.kind === "arguments") calls.at(-1)![1] += one.text;
      else if (one.kind === "end") open = 0;
    }
    return { texts, calls, ...(open > 0 && { isCut: true }) };
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

test("a call's name comes before its arguments, and these piece by piece", () => {
  const reader = toolReader("hermes");
  const pushed = (text: string) => reader.push(text);
  expect(pushed('See.\n<tool_call>\n{"name": "ad')).toEqual([{ kind: "text", text: "See." }]);
  expect(pushed('d", "arguments": {"a": ')).toEqual([
    { kind: "call", name: "add" },
    { kind: "arguments", text: '{"a":' },
  ]);
  expect(pushed('"}\\" {')).toEqual([{ kind: "arguments", text: '"}\\" {' }]);
  expect(pushed('"}')).toEqual([{ kind: "arguments", text: '"}' }]);
  expect(pushed("}")).toEqual([{ kind: "end" }]);
  expect(pushed("\n</tool_call>\n\nAnd")).toEqual([{ kind: "text", text: "And" }]);
  expect(pushed(" more")).toEqual([{ kind: "text", text: " more" }]);
});

test.each<[ToolStyle, string, boolean]>([
  ["hermes", '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": [2', false],
  ["llama3", '{"name": "add", "parameters": {"a": 1, "b": [2', true],
  ["mistral", '[TOOL_CALLS]add[ARGS]{"a": 1, "b": [2', false],
])("%s: a call that is cut has the arguments that came", (style, text, isForced) => {
  expect(read(style, text, isForced)).toEqual({ texts: "", calls: [["add", '{"a":1,"b":[2']], isCut: true });
});

test("calls in other orders, with ids, or with arguments as a text come out whole", () => {
  expect(read("hermes", '<tool_call>{"arguments": {"a": 1}, "name": "add"}</tool_call> Done').calls).toEqual([["add", '{"a":1}']]);
  expect(read("hermes", '<tool_call>{"name": "add", "arguments": "{\\"a\\": 1}"}</tool_call>').calls).toEqual([["add", '{"a": 1}']]);
  expect(read("hermes", '<tool_call>{"function": {"name": "add", "arguments": {}}}</tool_call>').calls).toEqual([["add", "{}"]]);
  expect(
    read("mistral", '[TOOL_CALLS] [{"name": "add", "arguments": {"a": 1}, "id": "x{y"}, {"name": "sub", "arguments": {}}] end'),
  ).toEqual({
    texts: "end",
    calls: [
      ["add", '{"a":1}'],
      ["sub", "{}"],
    ],
  });
  expect(read("llama3", '{"type": "function", "name": "add", "parameters": {}}<|eom_id|>').calls).toEqual([["add", "{}"]]);
});

test("what begins like a call and is none stays as it was written", () => {
  for (const text of ["<tool_call>", "<tool_call>\n[1, 2]\n</tool_call> x", 'a<tool_call>{"nam', "  b <tool_"]) {
    expect(read("hermes", text)).toEqual({ texts: text, calls: [] });
  }
  for (const text of ["<", "<|python", '{"a', '{"answer": {"name": "x"}} so', "<function=f>no</function>"]) {
    expect(read("llama3", text)).toEqual({ texts: text, calls: [] });
  }
  expect(read("mistral", "[TOOL_CALLS] none of them")).toEqual({ texts: "[TOOL_CALLS] none of them", calls: [] });
});
