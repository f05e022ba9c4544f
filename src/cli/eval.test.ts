/** @file `skein eval` from the command line: routers by name, tasks of several kinds, sweeps, labeled shots, the report page. */

import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { golden, goldenTensors } from "../../tests/golden.ts";
import { writeWordTokenizer } from "../../tests/word-tokenizer.ts";
import { float32 } from "../base/tensor.ts";
import type { RouteUsage } from "../evaluation/scoring/route-usage.ts";
import { saveGates } from "../storage/expert.ts";
import { skein } from "./captured-io.test-helper.ts";

const WORDS = ["red", "green", "blue", "one", "two", "three", "Answer:"];

let folder: string;
const at = (name: string) => join(folder, name);
const lines = (rows: readonly object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join("");

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-eval-"));
  await cp(golden("t5/model"), at("base"), { recursive: true });
  await writeWordTokenizer(at("base"), WORDS, { appendEnd: true });
  const gates = await goldenTensors("phatgoose_t5/gates.safetensors");
  await skein("pool", "create", at("pool"), "--base", at("base"));
  for (const z of [0, 1, 2]) {
    const expert = at(`expert_${z}`);
    await cp(golden(`phatgoose_t5/experts/expert_${z}`), expert, { recursive: true });
    const own = gates.names.map((module) => {
      const { shape, data } = gates.float(module);
      return [module, float32([shape[1]!], data.slice(z * shape[1]!, (z + 1) * shape[1]!))] as const;
    });
    await saveGates(expert, new Map(own));
    const { code, err } = await skein("pool", "add", at("pool"), expert);
    expect({ code, err }).toMatchObject({ code: 0 });
  }
  const color = (i: number) => WORDS[i % 3]!;
  await writeFile(at("write.jsonl"), lines(Array.from({ length: 8 }, (_, i) => ({ input: `${color(i)} ${color(i + 1)}`, target: "one" }))));
  const choose = Array.from({ length: 6 }, (_, i) => ({ input: `${color(i)}\nOptions:\n- one\n- two`, target: i % 2 ? "one" : "two" }));
  await writeFile(at("choose.json"), JSON.stringify({ examples: choose }));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const model = () => ["--base", at("base"), "--pool", at("pool")];

test("routers, lorahub and sweeps are compared on one set of examples, and the page shows all of it", async () => {
  const command = ["eval", at("write.jsonl"), "--tasks", at("choose.json"), ...model(), "--methods", "base,merged,experts,oracle,lorahub"];
  const more = [
    "--routers",
    "phatgoose,arrow:temperature=1,scaleBySqrt=false",
    "--sweep-k",
    "1,2,3",
    "--sweep-pool",
    "1,2",
    "--shots",
    "2",
  ];
  const { code, out, err } = await skein(...command, ...more, "--out", at("out"), "--report", at("report.html"), "--json");
  expect({ code, err: code ? err : "" }).toEqual({ code: 0, err: "" });
  const { tasks, methods, sweeps } = JSON.parse(out);
  expect(tasks.map(({ name, examples }: { name: string; examples: number }) => [name, examples])).toEqual([
    ["write", 6],
    ["choose", 4],
  ]);
  const names = methods.map(({ name }: { name: string }) => name);
  expect(names).toEqual(
    expect.arrayContaining(["base", "merged", "oracle", "lorahub", "phatgoose", "arrow:temperature=1,scaleBySqrt=false"]),
  );
  const [k, pool] = sweeps;
  const xs = (chart: { series: { name: string; points: { x: number }[] }[] }) =>
    chart.series.map(({ name, points }) => [name.split(":")[0], points.map(({ x }) => x)]);
  expect(xs(k)).toEqual([
    ["phatgoose", [1, 2, 3]],
    ["arrow", [1, 2, 3]],
  ]);
  expect(xs(pool)).toEqual(["merged", "lorahub", "phatgoose", "arrow"].map((name) => [name, [1, 2, 3]]));
  // At full size and the router's own k a sweep is the table's row.
  const row = methods.find(({ name }: { name: string }) => name === "phatgoose").means[0].value;
  expect(k.series[0].points[1].y).toBe(row);
  expect(pool.series[2].points[2].y).toBe(row);
  const page = await readFile(at("report.html"), "utf8");
  for (const part of [
    "Every task",
    "Which experts serve which tasks",
    "Which experts serve which tasks: phatgoose",
    "Which experts serve which tasks: arrow",
    "By task and layer",
    "entropy",
    "on oracle",
    "Experts per token",
    "Size of the pool",
  ]) {
    expect(page).toContain(part);
  }
  expect(await readdir(at("out"))).toEqual(
    expect.arrayContaining(["cache", "results.json", "results.md", "sweeps.json", "usage.json", "phatgoose", "lorahub"]),
  );
  const usage: RouteUsage[] = JSON.parse(await readFile(at("out/usage.json"), "utf8"));
  expect(usage.map(({ router }) => router)).toEqual(["phatgoose", "arrow:temperature=1,scaleBySqrt=false"]);
  const steps = stepsOf(err, "sweep of pools");
  expect(steps.at(-1)).toEqual([24, 24]); // 3 sizes, 4 methods, 2 tasks
  expect(steps).toEqual([...steps].sort(([a = 0], [b = 0]) => a - b));
}, 120_000);

/** [step, steps] of each progress line under `label`. */
function stepsOf(err: string, label: string): number[][] {
  const lines = err.split("\n").filter((line) => line.startsWith('{"progress"'));
  const states = lines.map((line): { progress: string; step: number; steps: number } => JSON.parse(line));
  return states.filter(({ progress }) => progress === label).map(({ step, steps }) => [step, steps]);
}

test("without --methods the routers stand beside what the single experts give, and everything is read back from the cache", async () => {
  const command = ["eval", at("write.jsonl"), ...model(), "--routers", "spectr", "--limit", "3", "--out", at("again"), "--json"];
  const first = await skein(...command);
  expect(first.code).toBe(0);
  const { methods, tasks } = JSON.parse(first.out);
  expect(tasks[0].examples).toBe(3);
  expect(methods.map(({ kind }: { kind: string }) => kind)).toEqual(
    expect.arrayContaining(["base", "experts", "merged", "oracle", "router"]),
  );
  const kept = await readdir(at("again/cache"));
  const second = await skein(...command);
  expect(JSON.parse(second.out).methods).toEqual(methods);
  expect(await readdir(at("again/cache"))).toEqual(kept);
}, 60_000);

test("retrieval's row says what embedded the texts", async () => {
  for (const z of [0, 1, 2]) {
    const expert = at(`pool/experts/expert_${z}`);
    expect(await skein("statistics", expert, "--base", at("base"), "--data", at("write.jsonl"))).toMatchObject({ code: 0 });
  }
  const { out } = await skein(
    "eval",
    at("write.jsonl"),
    ...model(),
    "--methods",
    "base",
    "--routers",
    "retrieval",
    "--limit",
    "2",
    "--json",
  );
  const [base, retrieval] = JSON.parse(out).methods;
  expect(retrieval).toMatchObject({ name: "retrieval", details: { embedder: "base-mean-pooled" } });
  expect(base.details).toBeUndefined();
}, 60_000);

test("what cannot be is refused before anything runs", async () => {
  const alone = await skein("eval", at("write.jsonl"), "--base", at("base"), "--routers", "arrow");
  expect(alone).toMatchObject({ code: 1, err: expect.stringContaining("--pool") });
  const large = await skein("eval", at("write.jsonl"), ...model(), "--methods", "merged", "--sweep-pool", "9", "--limit", "1");
  expect(large).toMatchObject({ code: 1, err: expect.stringContaining("the pool has 3") });
  const all = await skein("eval", at("write.jsonl"), ...model(), "--methods", "lorahub", "--shots", "8");
  expect(all).toMatchObject({ code: 1, err: expect.stringContaining("has no examples") });
}, 60_000);
