/** @file The engine in its process, behind a real server: cancelling, crashes, hot adding and removing under load, limits, shutdown. */

import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { addExpert, removeExpert } from "../storage/pool.ts";
import { bundledProcess } from "./process.test-helper.ts";
import { ProcessBackend } from "./process-backend.ts";
import { type RunningServer, startServer } from "./serve.ts";
import { type TinyWorld, tinyWorld } from "./tiny-world.test-helper.ts";

let folder: string;
let world: TinyWorld;
let file: URL;
let backend: ProcessBackend;
let server: RunningServer;
const keys = () => join(folder, "keys");
const silent = { info() {}, warn() {}, error() {} };

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-process-"));
  [world, file] = await Promise.all([tinyWorld(folder), bundledProcess()]);
  await writeFile(keys(), "# people\nann secret-a\nsecret-b\n");
  const { base, pool, experts: adapterRoot } = world;
  backend = new ProcessBackend(
    { base, name: "tiny", pool, poolName: "colors", adapterRoot, watchEvery: 50 },
    { file, onWarning: console.error, onBug() {} },
  );
  await backend.ready;
  const limits = { queue: 8, maxTokens: 900, timeout: 20_000, bodyBytes: 65_536 };
  server = await startServer(backend, { port: 0, version: "test", log: silent, limits, apiKeys: keys(), allowsRuntimeUpdates: true });
});
afterAll(async () => {
  await server?.close(1000);
  await rm(folder, { recursive: true, force: true });
  if (file) await rm(fileURLToPath(file), { force: true });
});

// biome-ignore lint/suspicious/noExplicitAny: answers are looked at field by field
type Answer = Omit<Response, "json"> & { json(): Promise<any> };

function post(path: string, body: object, { key = "secret-a", signal }: { key?: string; signal?: AbortSignal } = {}): Promise<Answer> {
  const headers = { "content-type": "application/json", authorization: `Bearer ${key}` };
  return fetch(server.url + path, { method: "POST", headers, body: JSON.stringify(body), ...(signal && { signal }) });
}
const names = async () => {
  const answer: Answer = await fetch(`${server.url}/v1/models`, { headers: { authorization: "Bearer secret-b" } });
  return ((await answer.json()).data as { id: string }[]).map(({ id }) => id);
};
const long = { prompt: "abc", max_tokens: 900, temperature: 0, ignore_eos: true };
const short = { prompt: "abc", max_tokens: 4, temperature: 0, ignore_eos: true };

async function eventually(holds: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 400; i++) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error("it never came to hold");
}

test("keys: none, a wrong one, and one that is added while the server runs", async () => {
  expect((await post("/v1/completions", { model: "tiny", ...short }, { key: "" })).status).toBe(401);
  const refused = await post("/v1/completions", { model: "tiny", ...short }, { key: "secret-c" });
  expect([refused.status, (await refused.json()).error.code]).toEqual([401, "invalid_api_key"]);
  await writeFile(keys(), "ann secret-a\nsecret-b\nsecret-c\n");
  await eventually(async () => (await post("/v1/completions", { model: "tiny", ...short }, { key: "secret-c" })).status === 200);
  expect((await fetch(`${server.url}/health`)).status).toBe(200);
});

test("a request that its caller leaves makes room at once, in a stream or not", async () => {
  for (const stream of [true, false]) {
    const controller = new AbortController();
    const answer = post("/v1/completions", { model: "tiny", ...long, stream, n: 8 }, { signal: controller.signal });
    if (stream) await (await answer).body!.getReader().read();
    else await eventually(async () => (await backend.stats()).running > 0);
    controller.abort();
    await answer.catch(() => {});
    await eventually(async () => (await backend.stats()).running === 0);
  }
});

test("the queue has an end, and so has a body", async () => {
  const controller = new AbortController();
  const first = await post("/v1/completions", { model: "tiny", ...long, stream: true, n: 8 }, { signal: controller.signal });
  const second = await post("/v1/completions", { model: "tiny", ...short });
  expect([second.status, second.headers.get("retry-after")]).toEqual([429, "2"]);
  expect((await second.json()).error.type).toBe("rate_limit_error");
  controller.abort();
  await first.text().catch(() => {});
  await eventually(async () => (await post("/v1/completions", { model: "tiny", ...short })).status === 200);
  expect((await post("/v1/completions", { model: "tiny", ...short, n: 9 })).status).toBe(400);
  expect((await post("/v1/completions", { model: "tiny", prompt: "x".repeat(70_000) })).status).toBe(413);
  expect((await post("/v1/completions", { model: "tiny", ...short, max_tokens: 901 })).status).toBe(400);
});

test("adapters come and go by requests, from their folder alone", async () => {
  const load = (body: object) => post("/v1/load_lora_adapter", body);
  expect((await load({ lora_name: "green", lora_path: "green" })).status).toBe(200);
  expect(await names()).toContain("green");
  expect((await post("/v1/completions", { model: "green", ...short })).status).toBe(200);
  expect((await load({ lora_name: "green", lora_path: "green" })).status).toBe(409);
  for (const lora_path of ["..", "/etc", "../pool/experts/red", "nowhere"])
    expect((await load({ lora_name: "x", lora_path })).status).toBe(403);
  expect((await post("/v1/unload_lora_adapter", { lora_name: "green" })).status).toBe(200);
  expect(await names()).not.toContain("green");
  expect((await post("/v1/completions", { model: "green", ...short })).status).toBe(404);
  expect((await post("/v1/unload_lora_adapter", { lora_name: "red" })).status).toBe(400);
  expect((await load({ lora_name: "green", lora_path: "green", join_pool: true })).status).toBe(200);
  const routed = { model: "colors", ...short, routing: { experts: ["green"] } };
  expect((await post("/v1/completions", routed)).status).toBe(200);
  expect((await post("/v1/unload_lora_adapter", { lora_name: "green" })).status).toBe(200);
  expect((await post("/v1/completions", routed)).status).toBe(400);
});

test("the pool's folder is watched; a request that runs ends with the experts it began with", async () => {
  const ask = { model: "colors:uniform", prompt: "abc", temperature: 0, ignore_eos: true, return_routed_experts: true };
  const before = await (await post("/v1/completions", { ...ask, max_tokens: 120 })).json();
  const running = post("/v1/completions", { ...ask, max_tokens: 120 });
  await eventually(async () => (await backend.stats()).running > 0);
  await addExpert(world.pool, join(world.experts, "green"));
  await eventually(async () => (await names()).includes("green"));
  expect((await (await running).json()).choices[0].text).toBe(before.choices[0].text);
  const after = await (await post("/v1/completions", { ...ask, max_tokens: 4 })).json();
  expect(after.choices[0].skein.experts).toEqual(["red", "blue", "green"]);
  await removeExpert(world.pool, "green");
  await eventually(async () => !(await names()).includes("green"));
  const again = await (await post("/v1/completions", { ...ask, max_tokens: 120 })).json();
  expect(again.choices[0].text).toBe(before.choices[0].text);
});

test("requests in one batch answer as they do alone", async () => {
  const models = ["tiny", "colors", "blue", "colors:uniform", "colors:arrow", "colors"];
  const ask = (model: string, i: number) =>
    post("/v1/completions", { model, prompt: `${"hello ".repeat(i + 1)}${i}`, max_tokens: 24, temperature: 0, ignore_eos: true });
  const alone: string[] = [];
  for (const [i, model] of models.entries()) alone.push((await (await ask(model, i)).json()).choices[0].text);
  const together = await Promise.all(models.map(async (model, i) => (await (await ask(model, i)).json()).choices[0].text));
  expect(together).toEqual(alone);
});

test("an engine that dies loses its requests, and no more", async () => {
  await post("/v1/load_lora_adapter", { lora_name: "green", lora_path: "green" });
  const whole = post("/v1/completions", { model: "tiny", ...long });
  const stream = await post("/v1/completions", { model: "tiny", ...long, stream: true });
  await eventually(async () => (await backend.stats()).running === 2);
  backend.child!.kill("SIGKILL");
  const lost = await whole;
  expect([lost.status, (await lost.json()).error.code]).toEqual([503, "engine_restarted"]);
  expect(await stream.text()).toContain("engine_restarted");
  await eventually(async () => (await fetch(`${server.url}/ready`)).status === 200);
  expect(await names()).toContain("green");
  expect((await post("/v1/completions", { model: "green", ...short })).status).toBe(200);
});

test("sockets that say nothing, half of a request, or stop reading hold nobody up", async () => {
  const sockets = Array.from({ length: 200 }, () => connect(server.port, "127.0.0.1"));
  for (const socket of sockets) socket.on("error", () => {});
  sockets[0]!.write("POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{");
  const body = JSON.stringify({ model: "tiny", ...long, stream: true });
  const head = `POST /v1/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret-a\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`;
  sockets[1]!.pause().write(head + body);
  sockets[2]!.end(head + body); // a socket that its caller half closed is one that nobody waits behind
  expect((await post("/v1/completions", { model: "tiny", ...short })).status).toBe(200);
  await eventually(async () => (await backend.stats()).running <= 1);
  for (const socket of sockets) socket.destroy();
  await eventually(async () => (await backend.stats()).running === 0);
});

test("a base that is none is an error at once", async () => {
  await cp(join(world.base, "config.json"), join(folder, "no-base", "config.json"));
  const bad = new ProcessBackend({ base: join(folder, "no-base") }, { file });
  await expect(bad.ready).rejects.toThrow(/safetensors|tensor/i);
  await bad.close();
});
