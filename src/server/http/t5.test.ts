/** @file A base with an encoder and without a chat template, behind a real server. */

import { afterAll, beforeAll, expect, test } from "vitest";
import { DEMO_BASE } from "../../demo/evaluation-task.ts";
import { openEngine } from "../open-engine.ts";
import { type RunningServer, startServer } from "../serve.ts";

let server: RunningServer;

beforeAll(async () => {
  const engine = await openEngine({ base: DEMO_BASE });
  server = await startServer(engine, { port: 0, version: "test", log: { info() {}, warn() {}, error: console.error } });
});
afterAll(() => server?.close(2000));

// biome-ignore lint/suspicious/noExplicitAny: answers are looked at field by field
async function post(path: string, body: object): Promise<{ status: number; body: any }> {
  const headers = { "content-type": "application/json" };
  const answer = await fetch(server.url + path, { method: "POST", headers, body: JSON.stringify({ model: "demo-base", ...body }) });
  return { status: answer.status, body: await answer.json() };
}

test("completes texts, several at once, and embeds them", async () => {
  const prompt = ["opposite : 1. hot 2. big", "opposite : 1. big 2. hot"];
  const { body } = await post("/v1/completions", { prompt, max_tokens: 8, temperature: 0 });
  expect(body.choices.map(({ text }: { text: string }) => text.trim())).toEqual(["1. cold 2. small", "1. small 2. cold"]);
  const embedded = await post("/v1/embeddings", { input: prompt, encoding_format: "float" });
  expect(embedded.body.data).toHaveLength(2);
});

test("refuses to chat and to score prompts, and says why", async () => {
  const chat = await post("/v1/chat/completions", { messages: [{ role: "user", content: "Hi" }] });
  expect(chat).toMatchObject({
    status: 400,
    body: { error: { code: "no_chat_template", message: expect.stringContaining("/v1/completions") } },
  });
  const echo = await post("/v1/completions", { prompt: "opposite : 1. hot", echo: true, logprobs: 1, max_tokens: 1 });
  expect(echo).toMatchObject({ status: 400, body: { error: { param: "echo" } } });
});
