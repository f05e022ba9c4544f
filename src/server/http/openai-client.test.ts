/** @file The official client against a real server on loopback. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import OpenAI from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openEngine } from "../open-engine.ts";
import { type RunningServer, startServer } from "../serve.ts";
import { CONTEXT, type TinyWorld, tinyWorld } from "../tiny-world.test-helper.ts";

let folder: string;
let world: TinyWorld;
let server: RunningServer;
let client: OpenAI;
const silent = { info() {}, warn() {}, error: console.error };

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-serve-"));
  world = await tinyWorld(folder);
  const engine = await openEngine({ base: world.base, name: "tiny", pool: world.pool, poolName: "colors", watchEvery: 0 });
  server = await startServer(engine, { port: 0, version: "test", log: silent });
  client = new OpenAI({ apiKey: "none", baseURL: `${server.url}/v1`, maxRetries: 0 });
});
afterAll(async () => {
  await server?.close(2000);
  await rm(folder, { recursive: true, force: true });
});

test("models: the base, the pool, and each expert with its parent", async () => {
  const { data } = await client.models.list();
  expect(data.map(({ id }) => id)).toEqual(["tiny", "colors", "red", "blue"]);
  expect(await client.models.retrieve("red")).toMatchObject({ object: "model", parent: "tiny", root: join(world.pool, "experts/red") });
  await expect(client.models.retrieve("purple")).rejects.toMatchObject({ status: 404, code: "model_not_found", param: "model" });
});

test("completions: greedy text, token ids, lists, n, usage", async () => {
  const ask = { model: "tiny", max_tokens: 6, temperature: 0 };
  const text = await client.completions.create({ ...ask, prompt: "hello there" });
  expect(text.object).toBe("text_completion");
  expect(text.choices[0]!.finish_reason).toMatch(/stop|length/);
  expect(text.usage).toMatchObject({ prompt_tokens: 11 });
  const tokenized = await (await post("/tokenize", { prompt: "hello there", add_special_tokens: false })).json();
  expect(tokenized).toMatchObject({ count: 11, max_model_len: CONTEXT });
  const ids = await client.completions.create({ ...ask, prompt: tokenized.tokens });
  expect(ids.choices[0]!.text).toBe(text.choices[0]!.text);
  const many = await client.completions.create({ ...ask, prompt: ["hello there", "good morning"], n: 2 });
  expect(many.choices.map(({ index }) => index)).toEqual([0, 1, 2, 3]);
  expect(many.choices[0]!.text).toBe(text.choices[0]!.text);
  expect(many.choices[1]!.text).toBe(text.choices[0]!.text);
});

test("completions in a stream are the same text, and end with the usage", async () => {
  const ask = { model: "colors", prompt: "once upon", max_tokens: 12, temperature: 0 } as const;
  const whole = await client.completions.create(ask);
  let text = "";
  let usage: OpenAI.CompletionUsage | undefined;
  const reasons: unknown[] = [];
  for await (const chunk of await client.completions.create({ ...ask, stream: true, stream_options: { include_usage: true } })) {
    for (const choice of chunk.choices) {
      text += choice.text;
      if (choice.finish_reason) reasons.push(choice.finish_reason);
    }
    if (chunk.usage) usage = chunk.usage;
  }
  expect(text).toBe(whole.choices[0]!.text);
  expect(reasons).toEqual([whole.choices[0]!.finish_reason]);
  expect(usage).toMatchObject({ prompt_tokens: whole.usage!.prompt_tokens, completion_tokens: whole.usage!.completion_tokens });
});

test("seeds repeat, and bias, stop texts and penalties do what they say", async () => {
  const ask = { model: "tiny", prompt: "abc", max_tokens: 16, temperature: 1.5 };
  const [one, two] = [await client.completions.create({ ...ask, seed: 5 }), await client.completions.create({ ...ask, seed: 5 })];
  expect(one.choices[0]!.text).toBe(two.choices[0]!.text);
  const { tokens } = await (await post("/tokenize", { prompt: "x", add_special_tokens: false })).json();
  const biased = await client.completions.create({ ...ask, max_tokens: 4, logit_bias: { [tokens[0]]: 100 } });
  expect(biased.choices[0]!.text).toBe("xxxx");
  const stopped = await client.completions.create({ ...ask, max_tokens: 4, logit_bias: { [tokens[0]]: 100 }, stop: ["xx"] });
  expect(stopped.choices[0]).toMatchObject({ text: "", finish_reason: "stop" });
});

test("echo gives the prompt's log-probabilities, as lm-evaluation-harness reads them", async () => {
  const { tokens } = await (await post("/tokenize", { prompt: "hello there", add_special_tokens: false })).json();
  const ask = { model: "blue", prompt: [tokens], max_tokens: 1, logprobs: 1, echo: true, seed: 1234, temperature: 0 };
  const { choices } = await client.completions.create(ask);
  const { tokens: told, token_logprobs, top_logprobs, text_offset } = choices[0]!.logprobs!;
  expect(told!.slice(0, 11).join("")).toBe("hello there");
  expect(token_logprobs).toHaveLength(12);
  expect(token_logprobs![0]).toBeNull();
  expect(text_offset!.slice(0, 3)).toEqual([0, 1, 2]);
  for (let i = 1; i < 12; i++) expect(Math.max(...Object.values(top_logprobs![i]!))).toBeGreaterThanOrEqual(token_logprobs![i]!);
  // Generated token by token, the same tokens are as likely.
  const forced = await client.completions.create({ ...ask, prompt: [tokens.slice(0, 10)], echo: false, logit_bias: { [tokens[10]]: 100 } });
  expect(forced.choices[0]!.text).toBe("e");
  expect(forced.choices[0]!.logprobs!.token_logprobs![0]).toBeCloseTo(token_logprobs![10]!, 4);
});

test("chat answers, whole and in a stream, with log-probabilities", async () => {
  const ask = {
    model: "colors",
    messages: [
      { role: "developer", content: "Be brief." },
      { role: "user", content: [{ type: "text", text: "Hi" }] },
    ],
    max_completion_tokens: 8,
    temperature: 0,
    logit_bias: { 2: -100, 4: -100 }, // no end of the turn
    logprobs: true,
    top_logprobs: 2,
  } satisfies OpenAI.ChatCompletionCreateParamsNonStreaming;
  const whole = await client.chat.completions.create(ask);
  const { message, logprobs } = whole.choices[0]!;
  expect(message.role).toBe("assistant");
  expect(logprobs!.content!.length).toBe(whole.usage!.completion_tokens);
  expect(logprobs!.content![0]!.top_logprobs).toHaveLength(2);
  const stream = client.chat.completions.stream({ ...ask, stream_options: { include_usage: true } });
  const final = await stream.finalChatCompletion();
  expect(final.choices[0]!.message.content).toBe(message.content);
  expect(final.usage).toMatchObject({ completion_tokens: whole.usage!.completion_tokens });
});

test("routes come back in vLLM's names, whole and in a stream", async () => {
  const ask = { model: "colors:uniform", prompt: "abc", max_tokens: 5, temperature: 0, ignore_eos: true, return_routed_experts: true };
  const whole = await (await post("/v1/completions", ask)).json();
  const [choice] = whole.choices;
  expect(choice.routed_experts).toHaveLength(5);
  expect(choice.prompt_routed_experts).toHaveLength(3);
  expect(choice.skein.experts).toEqual(["red", "blue"]);
  expect(choice.routed_experts[0]).toHaveLength(choice.skein.modules.length);
  expect(choice.skein.weights[0][0]).toEqual([0.5, 0.5]);
  const chunks = (await (await post("/v1/completions", { ...ask, stream: true })).text())
    .split("\n\n")
    .filter((line) => line.includes("{"));
  const parts = chunks.map((line) => JSON.parse(line.slice(6)).choices[0]);
  expect(parts.flatMap((part) => part.routed_experts ?? [])).toEqual(choice.routed_experts);
  expect(parts.find((part) => part.prompt_routed_experts).prompt_routed_experts).toEqual(choice.prompt_routed_experts);
});

test("a request chooses its routing", async () => {
  const ask = { model: "colors", prompt: "abc", max_tokens: 5, temperature: 0, return_routed_experts: true, ignore_eos: true };
  const [one] = (await (await post("/v1/completions", { ...ask, routing: { method: "phatgoose", topK: 1 } })).json()).choices;
  expect(one.routed_experts.flat(2).length).toBe(5 * one.skein.modules.length);
  const [only] = (await (await post("/v1/completions", { ...ask, routing: { experts: ["blue"] } })).json()).choices;
  expect(only.skein.weights.flat(2).filter((weight: number) => weight > 0).length).toBe(5 * only.skein.modules.length);
  const alone = await (
    await post("/v1/completions", { model: "blue", prompt: "abc", max_tokens: 5, temperature: 0, ignore_eos: true })
  ).json();
  expect(only.text).toBe(alone.choices[0].text);
  const refused = await post("/v1/completions", { ...ask, model: "tiny", routing: { method: "arrow" } });
  expect(await refused.json()).toMatchObject({ error: { param: "routing" } });
  const unknown = await post("/v1/completions", { ...ask, model: "colors:nonsense" });
  expect([unknown.status, (await unknown.json()).error.type]).toEqual([400, "invalid_request_error"]);
});

test("what is not supported is refused by name", async () => {
  const messages = [{ role: "user", content: "Hi" }];
  const cases: [object, string][] = [
    [{ model: "tiny", messages, audio: {} }, "audio"],
    [{ model: "tiny", messages, temperature: 3 }, "temperature"],
    [{ model: "tiny", messages: [{ role: "king", content: "" }] }, "messages.0.role"],
    [{ model: "tiny" }, "messages"],
    [{ model: "tiny", messages, top_logprobs: 2 }, "top_logprobs"],
    [{ model: "tiny", messages, logit_bias: { 9999: 1 } }, "logit_bias"],
    [{ model: "tiny", messages: [{ role: "user", content: "a".repeat(CONTEXT) }] }, "messages"],
    [{ model: "tiny", messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "" } }] }] }, "messages.0.content.0"],
  ];
  for (const [body, param] of cases) {
    const answer = await post("/v1/chat/completions", body);
    expect([answer.status, (await answer.json()).error.param]).toEqual([400, param]);
  }
  expect((await post("/v1/chat/completions", undefined, "{")).status).toBe(400);
  expect((await fetch(`${server.url}/v1/chat/completions`, { method: "POST", body: "{}" })).status).toBe(415);
  expect((await post("/nowhere", {})).status).toBe(404);
  expect((await fetch(`${server.url}/v1/chat/completions`)).status).toBe(405);
});

test("responses: text, events, and no memory", async () => {
  const ask = { model: "tiny", input: "Hi", max_output_tokens: 6, temperature: 0 } as const;
  const whole = await client.responses.create(ask);
  expect(whole.output_text.length).toBeGreaterThanOrEqual(0);
  expect(whole.usage).toMatchObject({ output_tokens: expect.any(Number) });
  const types: string[] = [];
  let text = "";
  for await (const event of await client.responses.create({ ...ask, stream: true })) {
    types.push(event.type);
    if (event.type === "response.output_text.delta") text += event.delta;
  }
  expect(text).toBe(whole.output_text);
  expect(types[0]).toBe("response.created");
  expect(types.at(-1)).toMatch(/response\.(completed|incomplete)/);
  await expect(client.responses.create({ ...ask, previous_response_id: "resp_1" })).rejects.toMatchObject({
    status: 400,
    param: "previous_response_id",
  });
});

test("embeddings have unit length, in both encodings", async () => {
  const floats = await client.embeddings.create({ model: "tiny", input: ["abc", "hello"], encoding_format: "float" });
  expect(floats.data[0]!.embedding.reduce((sum, x) => sum + x * x, 0)).toBeCloseTo(1, 5);
  const packed = await client.embeddings.create({ model: "tiny", input: ["abc", "hello"] }); // the client asks for base64
  expect(packed.data[1]!.embedding[3]).toBeCloseTo(floats.data[1]!.embedding[3]!, 6);
  const routed = await client.embeddings.create({ model: "colors", input: "abc", encoding_format: "float" });
  expect(routed.data[0]!.embedding).not.toEqual(floats.data[0]!.embedding);
});

test("health, metrics, the description, and the tokenizer", async () => {
  for (const path of ["/health", "/ready", "/openapi.json", "/docs"]) expect((await fetch(server.url + path)).status).toBe(200);
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  expect(metrics).toMatch(/skein_generation_tokens_total\{model="(tiny|other)"\} \d+/);
  expect(await (await fetch(`${server.url}/tokenizer_info`)).json()).toMatchObject({
    eos_token: "</s>",
    chat_template: expect.any(String),
  });
  const back = await (await post("/detokenize", { tokens: [47, 48] })).json();
  expect(back.prompt).toBe(back.content);
});

test("a stranger's host is refused, as a page in a browser would send it", async () => {
  const { request } = await import("node:http");
  const status = await new Promise((resolve, reject) => {
    request(`${server.url}/v1/models`, { headers: { host: "evil.example" } }, ({ statusCode }) => resolve(statusCode))
      .on("error", reject)
      .end();
  });
  expect(status).toBe(403);
});

// biome-ignore lint/suspicious/noExplicitAny: answers are looked at field by field
type Answer = Omit<Response, "json"> & { json(): Promise<any> };

function post(path: string, body: unknown, text = JSON.stringify(body)): Promise<Answer> {
  return fetch(server.url + path, { method: "POST", headers: { "content-type": "application/json" }, body: text });
}
