/** @file Many callers at once, by the clients that people use: idle connections, 128 streams, experts that come and go meanwhile. */

import { mkdtemp, rm } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { streamText } from "ai";
import OpenAI from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bundledProcess } from "./process.test-helper.ts";
import { ProcessBackend } from "./process-backend.ts";
import { type RunningServer, startServer } from "./serve.ts";
import { type TinyWorld, tinyWorld } from "./tiny-world.test-helper.ts";

const STREAMS = 128;
const IDLE = 1000;
const silent = { info() {}, warn() {}, error: console.error };
let folder: string;
let world: TinyWorld;
let file: URL;
let server: RunningServer;
let client: OpenAI;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-scale-"));
  [world, file] = await Promise.all([tinyWorld(folder), bundledProcess()]);
  const { base, pool, experts: adapterRoot } = world;
  const limits = { rows: STREAMS };
  const backend = new ProcessBackend({ base, name: "tiny", pool, poolName: "colors", adapterRoot, limits }, { file });
  await backend.ready;
  server = await startServer(backend, { port: 0, version: "test", log: silent, limits: { queue: 512 }, allowsRuntimeUpdates: true });
  client = new OpenAI({ apiKey: "none", baseURL: `${server.url}/v1`, maxRetries: 0 });
});
afterAll(async () => {
  await server?.close(2000);
  await rm(folder, { recursive: true, force: true });
  if (file) await rm(fileURLToPath(file), { force: true });
});

const models = ["tiny", "colors", "red", "colors:arrow"];
const askOf = (i: number) => ({
  model: models[i % models.length]!,
  prompt: `${"ab ".repeat(1 + (i % 7))}${i % 16}`,
  max_tokens: 12 + (i % 5),
  temperature: 0,
});
async function streamed(i: number): Promise<string> {
  let text = "";
  for await (const { choices } of await client.completions.create({ ...askOf(i), stream: true })) text += choices[0]?.text ?? "";
  return text;
}

test("128 streams beside 1,000 idle connections, while adapters come and go: each answers as it does alone", async () => {
  const kinds = 112; // so many different requests
  const alone: string[] = [];
  for (let i = 0; i < kinds; i++) alone.push(await streamed(i));
  const idle = await Promise.all(Array.from({ length: IDLE }, () => opened(server.port)));
  try {
    let isOver = false;
    const changing = (async () => {
      let changes = 0;
      for (; !isOver; changes++) {
        const adapter = { lora_name: "green", lora_path: "green", join_pool: changes % 2 === 1 };
        await client.post("/load_lora_adapter", { body: adapter });
        expect((await client.models.list()).data.map(({ id }) => id)).toContain("green");
        const { choices } = await client.completions.create({ model: "green", prompt: "abc", max_tokens: 2 });
        expect(choices).toHaveLength(1);
        await client.post("/unload_lora_adapter", { body: { lora_name: "green" } });
        expect((await client.models.list()).data.map(({ id }) => id)).not.toContain("green");
      }
      return changes;
    })();
    const provider = createOpenAICompatible({ name: "skein", baseURL: `${server.url}/v1` });
    const chat = Promise.all(
      ["tiny", "colors", "blue"].map(async (name) => {
        const { textStream, finishReason } = streamText({ model: provider(name), prompt: "Hi", maxOutputTokens: 8, temperature: 0 });
        for await (const _ of textStream);
        return finishReason;
      }),
    );
    const together = await Promise.all(Array.from({ length: STREAMS }, (_, i) => streamed(i % kinds)));
    isOver = true;
    // A request of the pool that begins while "green" is a member may be routed to it.
    const expected = (i: number) => (models[i % models.length]!.startsWith("colors") ? together[i] : alone[i % kinds]);
    expect(together).toEqual(together.map((_, i) => expected(i)));
    expect(together.filter((text, i) => text === alone[i % kinds]).length).toBeGreaterThan(STREAMS / 2);
    expect(await changing).toBeGreaterThan(0);
    expect((await chat).every((reason) => reason === "stop" || reason === "length")).toBe(true);
    expect(idle.filter(({ destroyed }) => !destroyed)).toHaveLength(IDLE);
  } finally {
    for (const socket of idle) socket.destroy();
  }
}, 60_000);

function opened(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => resolve(socket)).on("error", reject);
  });
}
