/** @file Thousands of bodies, broken in ways of every kind: none crashes the server, none hangs, and what is refused says why. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { seededRandom } from "../../base/random.ts";
import type { Backend } from "../backend.ts";
import { openEngine } from "../open-engine.ts";
import { tinyWorld } from "../tiny-world.test-helper.ts";
import { createApp } from "./app.ts";
import { Metrics } from "./metrics.ts";
import { Load } from "./service.ts";

const BODIES = 5000;
let folder: string;
let engine: Backend;
let app: ReturnType<typeof createApp>;
const bugs: unknown[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-fuzz-"));
  const { base, pool } = await tinyWorld(folder);
  engine = await openEngine({ base, name: "tiny", pool, poolName: "colors", watchEvery: 0 });
  const load = new Load(64);
  const log = { info() {}, warn() {}, error: (fields: unknown) => bugs.push(fields) };
  const limits = { queue: 64, maxTokens: 3, timeout: 20_000, bodyBytes: 100_000 };
  const metrics = new Metrics(engine, () => load.running);
  app = createApp({ backend: engine, load, log, limits, metrics }, { version: "test", allowsRuntimeUpdates: true });
});
afterAll(async () => {
  await engine?.close();
  await rm(folder, { recursive: true, force: true });
});

const random = seededRandom(7);
const under = (n: number) => Math.floor(random.next() * n);
const pick = <T>(items: readonly T[]): T => items[under(items.length)]!;

const messages = [{ role: "user", content: "Hi" }];
const tool = { type: "function", function: { name: "f", parameters: { type: "object", properties: { a: { type: "integer" } } } } };
const SEEDS: readonly (readonly [string, object])[] = [
  ["/v1/completions", { model: "tiny", prompt: "abc", max_tokens: 2, logprobs: 1, echo: true, n: 1, stop: ["x"], temperature: 0.5 }],
  ["/v1/completions", { model: "colors", prompt: [[9, 10], [11]], max_tokens: 1, stream: true, logit_bias: { 9: 1 } }],
  ["/v1/completions", { model: "colors", prompt: "abc", max_tokens: 1, routing: { method: "uniform", topK: 1, experts: ["red"] } }],
  ["/v1/chat/completions", { model: "red", messages, max_tokens: 2, logprobs: true, top_logprobs: 2, seed: 4 }],
  ["/v1/chat/completions", { model: "tiny", messages, max_tokens: 3, tools: [tool], tool_choice: "required", stream: true }],
  ["/v1/chat/completions", { model: "tiny", messages, max_tokens: 2, response_format: { type: "json_object" } }],
  ["/v1/responses", { model: "tiny", input: [{ role: "user", content: [{ type: "input_text", text: "a" }] }], max_output_tokens: 2 }],
  ["/v1/embeddings", { model: "colors", input: ["a", "b"], encoding_format: "float" }],
  ["/tokenize", { prompt: "abc", add_special_tokens: true }],
  ["/detokenize", { tokens: [1, 2, 50] }],
  ["/skein/probe", { text: "abc", answer: "de", router: "arrow" }],
  ["/v1/load_lora_adapter", { lora_name: "x", lora_path: "y" }],
];

const VALUES: readonly (() => unknown)[] = [
  () => null,
  () => true,
  () => -1,
  () => 0,
  () => 1e308,
  () => 2 ** 53,
  () => 0.1,
  () => "",
  () => "abc",
  () => "\u0000\ud800é€😀",
  () => "x".repeat(2000),
  () => [],
  () => [[]],
  () => [null],
  () => {
    return {};
  },
  () => ({ a: { b: [1] } }),
  () => ({ __proto__: null, constructor: 1, toString: 2 }),
  () => Array.from({ length: 300 }, (_, i) => i),
  () => pick(SEEDS)[1],
];
const NAMES = [
  "model",
  "prompt",
  "n",
  "stop",
  "messages",
  "logprobs",
  "stream",
  "seed",
  "nonsense",
  "__proto__",
  "constructor",
  "top_k",
  "min_p",
  "suffix",
];

/** The value with one thing about it changed, at any depth. */
function broken(value: unknown, depth = 0): unknown {
  if (typeof value !== "object" || value === null || (depth > 0 && random.next() < 0.3)) return pick(VALUES)();
  if (Array.isArray(value)) {
    const copy = [...value];
    const at = under(copy.length + 1);
    if (random.next() < 0.3) copy.splice(at, 1);
    else copy[at] = broken(copy[at], depth + 1);
    return copy;
  }
  const copy: Record<string, unknown> = { ...value };
  const key = random.next() < 0.75 ? pick([...Object.keys(copy), "model"]) : pick(NAMES);
  if (random.next() < 0.2) delete copy[key];
  else Object.defineProperty(copy, key, { value: broken(copy[key], depth + 1), enumerable: true, configurable: true, writable: true });
  return copy;
}

function text(body: unknown): string {
  const whole = JSON.stringify(body);
  const way = random.next();
  if (way < 0.85) return whole;
  const at = under(whole.length);
  if (way < 0.9) return whole.slice(0, at);
  if (way < 0.95) return whole.slice(0, at) + String.fromCharCode(under(256)) + whole.slice(at + 1);
  return pick(["", "[", "[".repeat(5000), "null", "1", '"a"', "{}", '{"a":'.repeat(2000), "\ufeff{}"]);
}

test(`${BODIES} broken bodies`, async () => {
  const statuses = new Map<number, number>();
  const one = async () => {
    const [path, seed] = pick(SEEDS);
    let body: unknown = seed;
    for (let i = under(3); i >= 0; i--) body = broken(body);
    const sent = text(body);
    const request = new Request(`http://localhost${path}`, { method: "POST", headers: { "content-type": "application/json" }, body: sent });
    const answer = await app.fetch(request);
    const got = await answer.text();
    statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
    if (answer.status >= 500 && answer.status !== 503)
      throw new Error(`${answer.status} for ${path} ${sent.slice(0, 500)}: ${got} ${JSON.stringify(bugs)}`);
    if (answer.status >= 400) expect(JSON.parse(got)).toMatchObject({ error: { message: expect.any(String), type: expect.any(String) } });
  };
  for (let done = 0; done < BODIES; done += 20) await Promise.all(Array.from({ length: 20 }, one));
  expect(bugs).toEqual([]);
  expect(statuses.get(200)).toBeGreaterThan(BODIES / 100);
  expect(statuses.get(400)).toBeGreaterThan(BODIES / 4);
  expect((await engine.stats()).running).toBe(0);
}, 90_000);
