/** @file lm-evaluation-harness's requests (local-completions), read as it reads answers: its figures are those of our own scoring. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { loglikelihood, rollingLoglikelihood, rollingWindows } from "../../evaluation/scoring/scorer.ts";
import { type LoadedModel, loadModel } from "../../library/model.ts";
import { openEngine } from "../open-engine.ts";
import { type RunningServer, startServer } from "../serve.ts";
import { CONTEXT, type TinyWorld, tinyWorld } from "../tiny-world.test-helper.ts";

let folder: string;
let world: TinyWorld;
let server: RunningServer;
let base: LoadedModel;
const MODELS = ["tiny", "blue", "colors", "colors:uniform"];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-lm-eval-"));
  world = await tinyWorld(folder);
  const engine = await openEngine({ base: world.base, name: "tiny", pool: world.pool, poolName: "colors", watchEvery: 0 });
  server = await startServer(engine, { port: 0, version: "test", log: { info() {}, warn() {}, error: console.error } });
  base = await loadModel(world.base);
});
afterAll(async () => {
  await server?.close(2000);
  await base?.dispose();
  await rm(folder, { recursive: true, force: true });
});

// biome-ignore lint/suspicious/noExplicitAny: answers are looked at field by field
async function post(path: string, body: object): Promise<any> {
  const headers = { "content-type": "application/json" };
  const answer = await fetch(server.url + path, { method: "POST", headers, body: JSON.stringify(body) });
  expect(answer.status).toBe(200);
  return answer.json();
}
async function encode(text: string): Promise<number[]> {
  return (await post("/tokenize", { prompt: text, add_special_tokens: false })).tokens;
}

/** The model's requests in a batch, and the harness's parse_logprobs. */
async function harness(model: string, requests: readonly { context: readonly number[]; continuation: readonly number[] }[]) {
  const prompt = requests.map(({ context, continuation }) => [...context, ...continuation]);
  const { choices } = await post("/v1/completions", { model, prompt, max_tokens: 1, logprobs: 1, seed: 1234, echo: true, temperature: 0 });
  return requests.map(({ context }, i) => {
    const { token_logprobs, top_logprobs, tokens } = choices[i].logprobs;
    const end = token_logprobs.length - 1;
    let sum = 0;
    let isGreedy = true;
    for (let t = context.length; t < end; t++) {
      sum += token_logprobs[t];
      const [best] = Object.entries(top_logprobs[t] as Record<string, number>).reduce((a, b) => (b[1] > a[1] ? b : a));
      if (best !== tokens[t]) isGreedy = false;
    }
    return { sum, isGreedy };
  });
}

function ours(model: string): Promise<LoadedModel> {
  if (model === "tiny") return base.with();
  if (model === "blue") return base.with({ adapter: join(world.experts, "blue") });
  const [, router] = model.split(":");
  return base.with({ pool: world.pool, ...(router !== undefined && { router }) });
}

test("multiple choice: log-likelihoods of continuations, and whether they are greedy", async () => {
  const contexts = ["Question: is the sky blue?\nAnswer:", "A short one:", "Once upon a time there was a goose that"];
  const pairs = contexts.flatMap((context) => [" yes", " no", " perhaps it is"].map((continuation) => ({ context, continuation })));
  const requests = [];
  for (const { context, continuation } of pairs)
    requests.push({ context: await encode(context), continuation: await encode(continuation) });
  for (const model of MODELS) {
    await using own = await ours(model);
    const expected = await loglikelihood(own, await own.tokenizer(), pairs);
    const got = await harness(model, requests);
    for (const [i, { sum, isGreedy }] of expected.entries()) {
      expect(got[i]!.sum).toBeCloseTo(sum, 3);
      expect(got[i]!.isGreedy).toBe(isGreedy);
    }
  }
});

test("perplexity: whole documents in windows", async () => {
  const document = "It was a dark and stormy night. ".repeat(50);
  const tokens = await encode(document);
  const info = await (await fetch(`${server.url}/tokenizer_info`)).json();
  const [prefix] = await encode((info as { bos_token: string }).bos_token);
  const maxLength = CONTEXT - 1; // the harness leaves room for the token that it has generated
  const windows = rollingWindows(tokens, { prefix: prefix!, maxLength });
  const own = await base.with();
  const [expected] = await rollingLoglikelihood(own, await own.tokenizer(), [document], { maxLength });
  const got = await harness("tiny", windows);
  const sum = got.reduce((total, one) => total + one.sum, 0);
  expect(sum / tokens.length).toBeCloseTo(expected!.sum / tokens.length, 4);
});

test("generation until a text", async () => {
  const ask = { model: "colors", prompt: "hello", max_tokens: 40, temperature: 0, stop: ["\n\n", "e"], seed: 1234 };
  const { choices } = await post("/v1/completions", ask);
  expect(choices[0].text).not.toContain("e");
});
