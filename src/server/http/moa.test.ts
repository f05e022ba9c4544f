/** @file A Mixture-of-LoRAs model behind the server: by the pool's name, in completions and chat, with its routes. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import OpenAI from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openEngine } from "../open-engine.ts";
import { type RunningServer, startServer } from "../serve.ts";
import { tinyWorld, withMoaRouters } from "../tiny-world.test-helper.ts";

let folder: string;
let server: RunningServer;
let client: OpenAI;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-moa-served-"));
  const { base, pool } = await tinyWorld(folder);
  await withMoaRouters({ base, pool });
  const engine = await openEngine({ base, name: "tiny", pool, poolName: "colors", methods: ["moa:domain=blue"], watchEvery: 0 });
  server = await startServer(engine, { port: 0, version: "test", log: { info() {}, warn() {}, error: console.error } });
  client = new OpenAI({ apiKey: "none", baseURL: `${server.url}/v1`, maxRetries: 0 });
});
afterAll(async () => {
  await server?.close(2000);
  await rm(folder, { recursive: true, force: true });
});

const ask = { prompt: "once upon", max_tokens: 8, temperature: 0 };

test("the pool answers as its routers decide, whole and beside others; a named domain answers as its expert", async () => {
  expect((await client.models.list()).data.map(({ id }) => id)).toEqual(["tiny", "colors", "colors:moa:domain=blue", "red", "blue"]);
  const text = async (model: string) => (await client.completions.create({ ...ask, model })).choices[0]!.text;
  const alone = { colors: await text("colors"), blue: await text("blue"), tiny: await text("tiny") };
  expect(await text("colors:moa:domain=blue")).toBe(alone.blue);
  expect(await Promise.all(["colors", "blue", "tiny"].map(text))).toEqual([alone.colors, alone.blue, alone.tiny]);
});

test("chat, and routes that say which domain served", async () => {
  const messages = [{ role: "user" as const, content: "Hi" }];
  const chat = await client.chat.completions.create({ model: "colors", messages, max_tokens: 6, temperature: 0 });
  expect(chat.choices[0]!.finish_reason).toMatch(/stop|length/);
  const body = { ...ask, model: "colors", return_routed_experts: true };
  const { choices } = await client.post<{
    choices: { routed_experts: number[][][]; skein: { experts: string[]; weights: number[][][] } }[];
  }>("/completions", { body });
  const [{ routed_experts: routed, skein }] = choices as [(typeof choices)[number]];
  expect(skein.experts).toEqual(["red", "blue"]);
  expect(routed.length).toBeGreaterThan(0);
  for (const weight of skein.weights.flat(2)) expect(weight).toBe(1);
  for (const expert of routed.flat(2)) expect([0, 1]).toContain(expert);
});

test("echo, where a model reads its prompt whole, gives the log-probabilities", async () => {
  const { choices } = await client.completions.create({ ...ask, model: "colors", max_tokens: 1, logprobs: 1, echo: true });
  expect(choices[0]!.logprobs!.token_logprobs).toHaveLength(ask.prompt.length + 1);
  expect(choices[0]!.text.startsWith(ask.prompt)).toBe(true);
});
