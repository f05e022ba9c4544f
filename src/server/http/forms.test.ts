/** @file Answers of a form, and calls of tools, by the clients that people use. The model has random weights: what comes out in form is
 *  there because nothing else was allowed. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, Output, streamText, tool } from "ai";
import OpenAI from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { openEngine } from "../open-engine.ts";
import { type RunningServer, startServer } from "../serve.ts";
import { tinyWorld } from "../tiny-world.test-helper.ts";

let folder: string;
let server: RunningServer;
let client: OpenAI;
const silent = { info() {}, warn() {}, error: console.error };
const messages = [{ role: "user" as const, content: "Hi" }];
const schema = {
  type: "object",
  properties: { color: { enum: ["red", "blue"] }, big: { type: "boolean" } },
  required: ["color", "big"],
  additionalProperties: false,
};
const tools = [
  { type: "function" as const, function: { name: "paint", description: "Paints.", parameters: schema } },
  { type: "function" as const, function: { name: "stop", parameters: { type: "object", properties: {} } } },
];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-forms-"));
  const { base, pool } = await tinyWorld(folder);
  const engine = await openEngine({ base, name: "tiny", pool, poolName: "colors", watchEvery: 0 });
  server = await startServer(engine, { port: 0, version: "test", log: silent });
  client = new OpenAI({ apiKey: "none", baseURL: `${server.url}/v1`, maxRetries: 0 });
});
afterAll(async () => {
  await server?.close(2000);
  await rm(folder, { recursive: true, force: true });
});

test("json_schema and json_object, several completions at once", async () => {
  const response_format = { type: "json_schema", json_schema: { name: "thing", schema, strict: true } } as const;
  const ask = { model: "colors", messages, response_format, temperature: 1, n: 3, max_tokens: 120 };
  const { choices } = await client.chat.completions.create(ask);
  for (const { message, finish_reason } of choices) {
    expect(finish_reason).toBe("stop");
    expect(Object.keys(JSON.parse(message.content!))).toEqual(["color", "big"]);
  }
  const any = await client.chat.completions.create({ ...ask, n: 1, response_format: { type: "json_object" }, max_tokens: 30 });
  expect(any.choices[0]!.message.content!.trimStart().startsWith("{")).toBe(true);
  const responded = await client.responses.create({
    model: "tiny",
    input: "Hi",
    text: { format: { type: "json_schema", name: "thing", schema } },
    max_output_tokens: 120,
  });
  expect(["red", "blue"]).toContain(JSON.parse(responded.output_text).color);
});

test("a schema that is none is refused, and the next one works", async () => {
  const asked = (schema: Record<string, unknown>) =>
    client.chat.completions.create({
      model: "tiny",
      messages,
      max_tokens: 60,
      response_format: { type: "json_schema", json_schema: { name: "x", schema } },
    });
  await expect(asked({ type: "nonsense" })).rejects.toMatchObject({ status: 400, param: "response_format" });
  await expect(asked({ type: "string", maxLength: 1e9 })).rejects.toMatchObject({ status: 400 });
  expect(["yes", "no"]).toContain(JSON.parse((await asked({ enum: ["yes", "no"] })).choices[0]!.message.content!));
});

test("a call that is required comes back parsed, whole and in a stream", async () => {
  const ask = { model: "tiny", messages, tools, tool_choice: "required", temperature: 1, max_tokens: 150 } as const;
  const { message, finish_reason } = (await client.chat.completions.create(ask)).choices[0]!;
  expect(finish_reason).toBe("tool_calls");
  const [call] = message.tool_calls!;
  expect(call!.type === "function" && ["paint", "stop"].includes(call!.function.name)).toBe(true);
  const named = { ...ask, tool_choice: { type: "function", function: { name: "paint" } } } as const;
  const pieces: string[] = [];
  const stream = client.chat.completions.stream(named);
  stream.on("tool_calls.function.arguments.delta", ({ arguments_delta }) => pieces.push(arguments_delta));
  const streamed = await stream.finalChatCompletion();
  const made = streamed.choices[0]!.message.tool_calls![0]!;
  expect(made.type === "function" && made.function.name).toBe("paint");
  expect(["red", "blue"]).toContain(JSON.parse((made as { function: { arguments: string } }).function.arguments).color);
  expect(pieces.filter((piece) => piece !== "").length).toBeGreaterThan(4);
  expect(pieces.join("")).toBe((made as { function: { arguments: string } }).function.arguments);
  await expect(client.chat.completions.create({ ...ask, tools: [] })).rejects.toMatchObject({ status: 400, param: "tool_choice" });
});

test("a conversation with calls and their results goes through the template; responses call too", async () => {
  const calls = [{ id: "call_1", type: "function" as const, function: { name: "paint", arguments: '{"color": "red"}' } }];
  const told = [
    ...messages,
    { role: "assistant" as const, tool_calls: calls },
    { role: "tool" as const, tool_call_id: "call_1", content: "ok" },
  ];
  const answer = await client.chat.completions.create({ model: "tiny", messages: told, tools, max_tokens: 4 });
  expect(answer.choices).toHaveLength(1);
  const flat = { type: "function" as const, name: "paint", parameters: schema, strict: true };
  const responded = await client.responses.create({
    model: "tiny",
    input: "Hi",
    tools: [flat],
    tool_choice: "required",
    max_output_tokens: 150,
  });
  const [item] = responded.output;
  expect(item).toMatchObject({ type: "function_call", name: "paint", status: "completed" });
  let args = "";
  const deltas: string[] = [];
  for await (const event of await client.responses.create({
    model: "tiny",
    input: "Hi",
    tools: [flat],
    tool_choice: "required",
    stream: true,
  })) {
    if (event.type === "response.function_call_arguments.delta") deltas.push(event.delta);
    if (event.type === "response.function_call_arguments.done") args = event.arguments;
  }
  expect(deltas.length).toBeGreaterThan(4);
  expect(deltas.join("")).toBe(args);
  expect(["red", "blue"]).toContain(JSON.parse(args).color);
});

test("the AI SDK streams text, takes objects and calls tools", async () => {
  const provider = createOpenAICompatible({
    name: "skein",
    baseURL: `${server.url}/v1`,
    supportsStructuredOutputs: true,
    includeUsage: true,
  });
  const model = provider("colors");
  const stream = streamText({ model, prompt: "Hi", maxOutputTokens: 8, temperature: 0 });
  let text = "";
  for await (const piece of stream.textStream) text += piece;
  expect(await stream.text).toBe(text);
  expect((await stream.usage).inputTokens).toBeGreaterThan(0);
  const shape = z.object({ color: z.enum(["red", "blue"]), big: z.boolean() });
  const { output } = await generateText({ model, prompt: "Hi", maxOutputTokens: 120, output: Output.object({ schema: shape }) });
  expect(["red", "blue"]).toContain(output.color);
  const { toolCalls } = await generateText({
    model,
    prompt: "Hi",
    maxOutputTokens: 150,
    tools: { paint: tool({ inputSchema: shape }) },
    toolChoice: "required",
  });
  expect(toolCalls[0]!.toolName).toBe("paint");
  const asked = {
    model,
    prompt: "Hi",
    maxOutputTokens: 150,
    tools: { paint: tool({ inputSchema: shape }) },
    toolChoice: "required",
  } as const;
  const told: string[] = [];
  let input: unknown;
  for await (const part of streamText(asked).fullStream) {
    if (part.type === "tool-input-delta") told.push(part.delta);
    if (part.type === "tool-call") ({ input } = part);
  }
  expect(told.length).toBeGreaterThan(4);
  expect(input).toEqual(JSON.parse(told.join("")));
});

test("a call that is cut says so, whole and in a stream", async () => {
  const choice = { type: "function", function: { name: "paint" } } as const;
  const ask = { model: "tiny", messages, tools, tool_choice: choice, temperature: 0, max_tokens: 45 } as const;
  const { message, finish_reason } = (await client.chat.completions.create(ask)).choices[0]!;
  const [call] = message.tool_calls as { function: { name: string; arguments: string } }[];
  expect({ finish_reason, name: call!.function.name }).toEqual({ finish_reason: "length", name: "paint" });
  expect(() => JSON.parse(call!.function.arguments)).toThrow();
  let args = "";
  let reason: string | null = null;
  for await (const { choices } of await client.chat.completions.create({ ...ask, stream: true })) {
    args += choices[0]!.delta.tool_calls?.[0]?.function?.arguments ?? "";
    reason = choices[0]!.finish_reason ?? reason;
  }
  expect({ args, reason }).toEqual({ args: call!.function.arguments, reason: "length" });
});
