/** @file Pools made by recipes: those that ship parse and plan; a short one runs in child processes, fails where it must, and goes on after
 *  being killed. */

import { spawn } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { FarmPlan } from "../fleet/plan.ts";
import { exists } from "../storage/files.ts";
import { listPool } from "../storage/pool.ts";
import { skein } from "./captured-io.test-helper.ts";
import { EXPERTS, type FarmFolder, FLAN, farmFolder, HEAD } from "./farm.test-helper.ts";

const BIN = fileURLToPath(new URL("../../bin/skein.js", import.meta.url));
const RECIPES = fileURLToPath(new URL("../../recipes/pools", import.meta.url));

let farm: FarmFolder;
const at = (name: string) => farm.at(name);
const recipe = (name: string, text: string) => farm.recipe(name, text);

beforeAll(async () => {
  farm = await farmFolder();
});
afterAll(() => farm[Symbol.asyncDispose]());

const EVALUATION = "evaluation: { tasks: [up.jsonl], heldOut: [down.jsonl], methods: [uniform], limit: 2 }\n";

test.each([
  ["demo.yaml", 12, 120],
  ["t0-held-in.yaml", 36, 1000],
  ["flan.yaml", 166, 1000],
  ["moa.yaml", 5, 50],
])("%s parses and plans without the network", async (name, count, steps) => {
  const { code, out, err } = await skein("farm", "plan", join(RECIPES, name), "--json");
  expect({ code, err }).toEqual({ code: 0, err: "" });
  const plan = JSON.parse(out) as FarmPlan;
  expect(plan.experts).toHaveLength(count);
  expect(new Set(plan.experts.map((expert) => expert.steps))).toEqual(new Set([steps]));
  expect(plan.tokens).toBeGreaterThan(0);
  expect(plan.seconds).toBeGreaterThan(0);
  if (count >= 36) {
    expect(new Set(plan.experts.map((expert) => [expert.batchSize, expert.gateSteps].join()))).toEqual(new Set(["1024,100"]));
    expect(plan.downloads[0]).toBe("base model google/t5-xl-lm-adapt");
    expect(plan.missing.some((line) => line.includes("promptsource/glue/mrpc"))).toBe(true);
  } else expect(plan.downloads).toEqual([]);
});

test.each([
  [
    "an unknown field",
    `${HEAD}  - { name: up, files: [up.jsonl] }\n  - name: down\n    file: [down.jsonl]\n`,
    /no field "file"[\s\S]*line 11[\s\S]*Nearest: files/,
  ],
  ["an unknown option", HEAD.replace("rank", "ranks") + EXPERTS, /no field "ranks"[\s\S]*line 5[\s\S]*Nearest: rank/],
  ["a file that is not there", `${HEAD}  - { name: up, files: [upp.jsonl] }\n`, /no file[\s\S]*line 9[\s\S]*Nearest: up\.jsonl/],
  ["an unknown template", HEAD + EXPERTS.replace("[again]", "[agian]"), /no template of colors "agian"[\s\S]*line 10[\s\S]*Nearest: again/],
  [
    "an unknown task of the demo",
    `${HEAD}  - { name: up, demo: opposit }\n`,
    /no task of the demo "opposit"[\s\S]*line 9[\s\S]*Nearest: opposite/,
  ],
  ["an unknown folder of a dataset", HEAD + FLAN("task-1").replace("zs_data", "zs"), /no folder "zs"[\s\S]*line 9[\s\S]*Nearest: zs_data/],
  ["two experts of one name", `${HEAD}${EXPERTS}${EXPERTS}`, /named "up"[\s\S]*line 14/],
  ["a wrong value", HEAD.replace("rank: 2", "rank: two") + EXPERTS, /training\.rank[\s\S]*line 5/],
  ["an expert without data", `${HEAD}  - { name: up }\n`, /no examples[\s\S]*line 9/],
  ["broken YAML", `${HEAD}  - { name: up\n`, /line \d+/],
])("%s is told with its line", async (_, text, problem) => {
  const { code, err } = await skein("farm", "plan", await recipe("bad.yaml", text));
  expect(err).toMatch(problem);
  expect(code).toBe(1);
});

test("jobs compute on the device of --device, whatever the environment says; one that is missing is refused at once", async () => {
  const path = await recipe("device.yaml", HEAD + EXPERTS);
  vi.stubEnv("SKEIN_DEVICE", "coreml"); // no build of ONNX Runtime has it on Linux
  try {
    const failed = await skein("farm", "plan", path, "--measure");
    expect(failed).toMatchObject({ code: 1, err: expect.stringContaining("coreml") });
    const measured = await skein("farm", "plan", path, "--measure", "--device", "cpu", "--json");
    expect(measured).toMatchObject({ code: 0, out: expect.stringContaining("tokensPerSecond") });
    for (const command of [
      ["run", path, "--out", at("device")],
      ["worker", "--queue", "redis://127.0.0.1:1", "--store", at("store")],
    ]) {
      expect(await skein("farm", ...command, "--device", "coreml")).toMatchObject({ code: 1, err: expect.stringMatching(/engine coreml/) });
    }
  } finally {
    vi.unstubAllEnvs();
  }
  expect(await exists(at("device.farm"))).toBe(false);
}, 60_000);

test("a recipe becomes a pool with a report; an expert that fails is named, and mended it alone is made", async () => {
  const bad = await recipe("pool.yaml", HEAD + EXPERTS + FLAN("task-9") + EVALUATION);
  const first = await skein("farm", "run", bad, "--out", at("pool"), "--json", "--workers", "2");
  expect(first.code).toBe(1);
  expect(first.err).toMatch(/1 of 3 experts failed\. flan: No row has _task_name task-9/);
  expect((await listPool(at("pool"))).experts.map(({ name }) => name)).toEqual(["up", "colors"]);
  expect(await readdir(at("pool/experts/up"))).toEqual(expect.arrayContaining(["adapter_model.safetensors", "gate_model.safetensors"]));
  const events = first.err.split("\n").flatMap((line) => (line.startsWith('{"farm"') ? [JSON.parse(line).farm] : []));
  expect(events).toContainEqual(expect.objectContaining({ job: "up", stage: "gates", step: 4, steps: 4, loss: expect.any(Number) }));

  await recipe("pool.yaml", HEAD + EXPERTS + FLAN("task-1") + EVALUATION);
  const second = await skein("farm", "run", bad, "--out", at("pool"), "--workers", "2");
  expect(second).toMatchObject({ code: 0, out: expect.stringContaining("with 3 experts") });
  expect(second.err).toMatch(/^up {2}kept/m);
  expect(second.err).toMatch(/^flan {2}done/m);
  expect((await listPool(at("pool"))).experts.map(({ name }) => name)).toEqual(["up", "colors", "flan"]);
  expect(await readFile(at("pool/report.html"), "utf8")).toContain("uniform");
  expect(JSON.parse(await readFile(at("pool/evaluation/results.json"), "utf8")).methods).toHaveLength(1);
}, 120_000);

test("a farm that was killed goes on and ends with the same bytes; two farms never make one pool", async () => {
  const path = await recipe("killed.yaml", HEAD.replace("steps: 6", "steps: 30") + EXPERTS.split("  - name")[0]);
  const args = (out: string) => ["farm", "run", path, "--out", at(out), "--workers", "1", "--json"];
  const whole = await skein(...args("whole"));
  expect(whole.code).toBe(0);
  const killed = spawn(process.execPath, [BIN, ...args("killed")], { stdio: "ignore" });
  while (!(await hasState(at("killed.farm/jobs")))) await sleep(20);
  const other = await skein(...args("killed"));
  expect(other).toMatchObject({ code: 1, err: expect.stringContaining("Another process works here") });
  killed.kill("SIGKILL");
  await new Promise((ended) => killed.on("exit", ended));
  expect(await exists(at("killed/pool.json"))).toBe(false);
  const again = await skein(...args("killed"));
  expect(again).toMatchObject({ code: 0 });
  const hashes = async (pool: string) => (await listPool(at(pool))).experts.map(({ sha256 }) => sha256);
  expect(await hashes("killed")).toEqual(await hashes("whole"));
}, 120_000);

async function hasState(jobs: string): Promise<boolean> {
  const names = await readdir(jobs, { recursive: true }).catch(() => []); // not made yet
  return names.some((name) => name.endsWith("state.safetensors"));
}
