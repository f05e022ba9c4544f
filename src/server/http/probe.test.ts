/** @file /skein/probe: which expert knows a text, as the library's own probe says it, and what is refused. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openExperts } from "../../inference/open.ts";
import { loadModel } from "../../library/model.ts";
import { type Probe, probe } from "../../library/probe.ts";
import { openEngine } from "../open-engine.ts";
import { type RunningServer, startServer } from "../serve.ts";
import { type TinyWorld, tinyWorld } from "../tiny-world.test-helper.ts";

const options = { port: 0, version: "test", log: { info() {}, warn() {}, error: console.error } };
let folder: string;
let world: TinyWorld;
let server: RunningServer;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-probe-served-"));
  world = await tinyWorld(folder);
  const { base, pool } = world;
  server = await startServer(await openEngine({ base, name: "tiny", pool, poolName: "colors", watchEvery: 0 }), options);
});
afterAll(async () => {
  await server?.close(2000);
  await rm(folder, { recursive: true, force: true });
});

async function asked(body: object, { url } = server): Promise<{ status: number; body: Probe & { error: { code: string } } }> {
  const init = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  const answer = await fetch(`${url}/skein/probe`, init);
  return { status: answer.status, body: (await answer.json()) as Probe & { error: { code: string } } };
}

test("shares, losses and notes are those of the library's probe, with an answer and without", async () => {
  await using model = await loadModel(world.base);
  const experts = await openExperts(model, world.pool);
  const tokenizer = await model.base.tokenizer();
  for (const given of [{}, { answer: " a time", router: "arrow" }]) {
    const { status, body } = await asked({ text: "once upon", ...given });
    expect(status).toBe(200);
    const [own] = await probe(model, tokenizer, experts, ["once upon"], given);
    expect(body).toEqual(JSON.parse(JSON.stringify(own)));
    expect(body.experts.map(({ name }) => name)).toEqual(["red", "blue"]);
    expect(body.experts[0]!.share + body.experts[1]!.share).toBeCloseTo(1, 5);
    expect(body.experts[0]!.loss).not.toBe(body.experts[1]!.loss);
  }
});

test("no text, an unknown router, a text beyond the context, and a server without a pool are refused", async () => {
  expect((await asked({ text: "" })).status).toBe(400);
  expect((await asked({ text: "a", router: "nonsense" })).status).toBe(400);
  const long = await asked({ text: "a".repeat(600), answer: "b".repeat(600) });
  expect([long.status, long.body.error.code]).toEqual([400, "context_length_exceeded"]);
  const bare = await startServer(await openEngine({ base: world.base, name: "tiny" }), options);
  const none = await asked({ text: "a" }, bare);
  await bare.close(1000);
  expect([none.status, none.body.error.code]).toEqual([404, "no_pool"]);
});
