/** @file The road from examples to a routed answer, by command lines alone, on a tiny T5. */

import { spawn } from "node:child_process";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { golden, maxDifference } from "../../tests/golden.ts";
import { writeWordTokenizer } from "../../tests/word-tokenizer.ts";
import { readSafetensors } from "../checkpoint/safetensors.ts";
import { skein } from "./captured-io.test-helper.ts";

const BIN = fileURLToPath(new URL("../../bin/skein.js", import.meta.url));
const SMALL = "--batch-size 3 --micro-batch-size 2 --rank 4 --alpha 8 --lr 0.01 --dropout 0 --max-length 16 --seed 7".split(" ");

let folder: string;
const at = (name: string) => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-train-"));
  await cp(golden("t5/model"), at("base"), { recursive: true });
  await writeWordTokenizer(at("base"), ["red", "green", "blue", "one", "two", "three"], { appendEnd: true });
  const pairs = (targets: readonly string[]) =>
    ["red", "green", "blue"].map((input, i) => JSON.stringify({ input, target: targets[i] })).join("\n");
  await writeFile(at("up.jsonl"), pairs(["one", "two", "three"]));
  await writeFile(at("down.jsonl"), pairs(["three", "two", "one"]));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test("two experts are trained, gated, pooled and routed", async () => {
  for (const name of ["up", "down"]) {
    const data = ["--base", at("base"), "--data", at(`${name}.jsonl`)];
    const trained = await skein("train", ...data, "--out", at(name), "--steps", "30", "--validation", at(`${name}.jsonl`), ...SMALL);
    expect(trained).toMatchObject({ code: 0, out: `Wrote ${at(name)}.\n` });
    expect(trained.err).toMatch(/^train {2}30\/30 {2}loss \d/m);
    const gated = await skein("gate", at(name), ...data, "--steps", "5", "--batch-size", "4", "--max-length", "16", "--json");
    expect(JSON.parse(gated.out)).toEqual({ expert: at(name) });
    expect(
      gated.err
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line)),
    ).toHaveLength(5);
  }
  // As a shell spells experts/*: the runs beside the experts are left out, and said to be.
  const folders = [at("up"), at("up.gate-run"), at("up.run"), at("down")];
  const pooled = await skein("pool", "create", at("pool"), "--base", at("base"), ...folders);
  expect(pooled).toMatchObject({ code: 0, out: `Made ${at("pool")} with 2 experts.\n` });
  expect(pooled.err.match(/up\.(gate-)?run is the folder of a training run/g)).toHaveLength(2);
  expect(await skein("pool", "add", at("pool"), at("up.run"))).toMatchObject({ code: 1, err: expect.stringContaining("None of these") });
  const routed = await skein(
    "generate",
    "red",
    "blue",
    "--base",
    at("base"),
    "--pool",
    at("pool"),
    "--routes",
    "--max-new-tokens",
    "3",
    "--json",
  );
  const { experts, completions } = JSON.parse(routed.out);
  expect(experts).toEqual(["up", "down"]);
  expect(completions).toHaveLength(2);
  expect(completions[0].routes["encoder.block.0.layer.0.SelfAttention.q"].experts).toEqual([
    [expect.any(Number), expect.any(Number)],
    [expect.any(Number), expect.any(Number)],
  ]);
});

test("embeddings and head learn with the rest; what needs an input vector refuses the expert by name", async () => {
  const data = ["--base", at("base"), "--data", at("up.jsonl")];
  const targets = "encoder.embed_tokens,decoder.embed_tokens,lm_head,q";
  const trained = await skein("train", ...data, "--out", at("words"), "--steps", "30", "--targets", targets, ...SMALL, "--json");
  const losses = trained.err
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line).loss as number)
    .filter((loss) => loss !== undefined);
  expect(losses.at(-1)).toBeLessThan(0.5 * losses[0]!);
  const checked = JSON.parse((await skein("check", at("words"), "--base", at("base"), "--json")).out);
  expect(checked).toMatchObject({ usable: true, embeddings: ["decoder.embed_tokens", "encoder.embed_tokens"], warnings: [] });
  expect((await skein("check", at("words"))).out).toContain("encoder.embed_tokens (embeddings)");
  const answer = await skein("generate", "red", "--base", at("base"), "--adapter", at("words"), "--max-new-tokens", "3");
  expect(answer.out).toContain("one");

  const gated = await skein("gate", at("words"), ...data, "--steps", "1");
  expect(gated).toMatchObject({ code: 1, err: expect.stringContaining("adapts the embeddings decoder.embed_tokens") });
  expect(await skein("pool", "create", at("words-pool"), "--base", at("base"), at("words"))).toMatchObject({ code: 0 });
  const pool = ["generate", "red", "--base", at("base"), "--pool", at("words-pool"), "--max-new-tokens", "3"];
  expect(await skein(...pool)).toMatchObject({ code: 1, err: expect.stringContaining('Expert "words" adapts the embeddings') });
  expect((await skein(...pool, "--router", "merged")).out).toBe(answer.out);
  const other = await skein(
    "train",
    ...data,
    "--out",
    at("bottleneck"),
    "--kind",
    "bottleneck",
    "--targets",
    "lm_head,decoder.embed_tokens",
  );
  expect(other).toMatchObject({ code: 1, err: expect.stringContaining("targets name the embeddings decoder.embed_tokens") });
  expect(await skein("train", ...data, "--out", at("idle"), "--targets", "shared")).toMatchObject({ code: 1 });
});

test("experts that no router could choose among are refused before they are in one pool", async () => {
  const train = ["train", "--base", at("base"), "--data", at("up.jsonl"), "--steps", "0"];
  await skein(...train, "--out", at("factors"), "--kind", "ia3");
  await skein(...train, "--out", at("low-rank"));
  const refused = { code: 1, err: expect.stringMatching(/of kind lora, expert "factors" of kind ia3\.[\s\S]*where: .*mixed/) };
  expect(await skein("pool", "create", at("mixed"), "--base", at("base"), at("low-rank"), at("factors"))).toMatchObject(refused);
  expect(await skein("pool", "create", at("mixed"), "--base", at("base"), at("low-rank"))).toMatchObject({ code: 0 });
  expect(await skein("pool", "add", at("mixed"), at("factors"))).toMatchObject(refused);
  expect(JSON.parse((await skein("pool", "list", at("mixed"), "--json")).out).experts).toHaveLength(1);
});

test("the help of gate speaks of gates alone", async () => {
  expect((await skein("gate", "--help")).out).not.toContain("--full");
  expect((await skein("train", "--help")).out).toMatch(/with\s+--full 1e-3/);
});

test("targets are named as PEFT's target_modules: names, a pattern of the whole path, or all-linear", async () => {
  const train = ["train", "--base", at("base"), "--data", at("up.jsonl"), "--steps", "0", "--rank", "2"];
  const covered = async (name: string, ...targets: string[]) => {
    expect(await skein(...train, "--out", at(name), ...targets)).toMatchObject({ code: 0 });
    return JSON.parse((await skein("check", at(name), "--base", at("base"), "--json")).out).modules.length as number;
  };
  const everywhere = await covered("every");
  expect(await covered("all-linear", "--targets", "all-linear")).toBe(everywhere);
  expect(await covered("names", "--targets", "SelfAttention.q, v")).toBe(
    await covered("pattern", "--targets", ".*SelfAttention\\.q|.*\\.v"),
  );
});

test("a trace names the experts of every token, and its page is self-contained", async () => {
  const command = [
    "trace",
    "red",
    "--base",
    at("base"),
    "--pool",
    at("pool"),
    "--out",
    at("trace.html"),
    "--max-new-tokens",
    "3",
    "--json",
  ];
  const { experts, parts } = JSON.parse((await skein(...command)).out);
  expect(experts).toEqual(["up", "down"]);
  expect(parts.map(({ name }: { name: string }) => name)).toEqual(["input", "output"]);
  for (const { tokens, modules } of parts) {
    for (const { weights } of modules) {
      expect(weights).toHaveLength(tokens.length);
      for (const row of weights) expect(row[0] + row[1]).toBeCloseTo(1, 5);
    }
  }
  expect(parts[0].tokens.map((token: string) => token.trim())).toEqual(["red", "</s>"]);
  expect([parts[0].modules.length, parts[1].modules.length]).toEqual([14 + 4, 22 - 4]); // cross-attention's k and v see the input
  const page = await readFile(at("trace.html"), "utf8");
  expect(page).toContain("“red” at encoder.block.0.layer.0.SelfAttention.q: ");
  expect(page).not.toMatch(/https?:|src=|@import/);
});

test("an evaluation compares base, experts, merge and router, and writes what it found", async () => {
  const command = [
    "eval",
    at("up.jsonl"),
    "--held-out",
    at("down.jsonl"),
    "--base",
    at("base"),
    "--pool",
    at("pool"),
    "--out",
    at("results"),
  ];
  const { code, out } = await skein(...command, "--cache", at("cache"));
  expect(code).toBe(0);
  expect(out).toMatch(/^method +held in +held out +all tasks/);
  const results = JSON.parse(await readFile(at("results/results.json"), "utf8"));
  const score = (method: string, task: string) =>
    results.methods.find(({ name }: { name: string }) => name === method).tasks[task].score.value;
  expect([score("expert up", "up"), score("expert down", "down"), score("oracle", "down")]).toEqual([1, 1, 1]);
  expect(score("base", "up")).toBeLessThan(1);
  expect(results.methods.map(({ name }: { name: string }) => name)).toEqual(
    expect.arrayContaining(["base", "merged", "best individual", "oracle", "phatgoose"]),
  );
  expect((await skein(...command, "--cache", at("cache"), "--methods", "base,nearest")).err).toContain('no router "nearest"');
});

test("an expert answers as it was taught, streamed and side by side", async () => {
  const model = ["--base", at("base"), "--adapter", at("up"), "--max-new-tokens", "4"];
  expect(await skein("generate", "green", ...model)).toEqual({ code: 0, out: "two\n", err: "" });
  expect((await skein("generate", "red", "blue", ...model)).out).toBe("red\n  one\nblue\n  three\n");
});

test("a run that is killed and started again ends with the numbers of an undisturbed one", async () => {
  // The later --dropout counts: what is random must resume too.
  const options = ["--steps", "30", "--save-every", "7", ...SMALL, "--dropout", "0.1"];
  const command = (out: string) => ["train", "--base", at("base"), "--data", at("up.jsonl"), "--out", at(out), ...options];
  const killed = spawn(process.execPath, [BIN, ...command("killed")], { stdio: "ignore" });
  const ended = new Promise((resolve) => killed.once("exit", (_, signal) => resolve(signal)));
  const steps = async () => (await readFile(at("killed.run/metrics.jsonl"), "utf8").catch(() => "")).split("\n").length - 1;
  while ((await steps()) < 10) await sleep(5);
  killed.kill("SIGKILL");
  expect(await ended).toBe("SIGKILL");
  expect((await skein(...command("killed"))).code).toBe(0);
  expect((await skein(...command("whole"))).code).toBe(0);
  const bytes = (name: string) => readFile(at(`${name}/adapter_model.safetensors`));
  expect(await bytes("killed")).toEqual(await bytes("whole"));
  const metrics = (name: string) => readFile(at(`${name}.run/metrics.jsonl`), "utf8");
  expect(await metrics("killed")).toBe(await metrics("whole"));
});

test("several experts train at once, go on after a kill, and get gates at once", async () => {
  const options = ["--steps", "30", "--save-every", "7", ...SMALL, "--dropout", "0.1"];
  const data = ["--base", at("base"), "--data", at("up.jsonl"), at("down.jsonl")];
  const command = ["train", ...data, "--out-each", at("each"), ...options];
  const killed = spawn(process.execPath, [BIN, ...command], { stdio: "ignore" });
  const ended = new Promise((resolve) => killed.once("exit", (_, signal) => resolve(signal)));
  const lines = async () => (await readFile(at("each/down.run/metrics.jsonl"), "utf8").catch(() => "")).split("\n").length - 1;
  while ((await lines()) < 10) await sleep(5);
  killed.kill("SIGKILL");
  expect(await ended).toBe("SIGKILL");
  const { code, out, err } = await skein(...command, "--json");
  expect(code).toBe(0);
  expect(JSON.parse(out)).toEqual({ out: [at("each/up"), at("each/down")] });
  const progress = err.split("\n").flatMap((line) => (line.includes("progress") ? [JSON.parse(line)] : []));
  expect(new Set(progress.map(({ expert }) => expert))).toEqual(new Set(["up", "down"]));
  for (const name of ["up", "down"]) {
    const alone = ["train", "--base", at("base"), "--data", at(`${name}.jsonl`), "--out", at(`${name}-alone`), ...options];
    expect((await skein(...alone)).code).toBe(0);
    const read = (folder: string) => readSafetensors(join(at(folder), "adapter_model.safetensors"));
    const [found, expected] = [await read(`each/${name}`), await read(`${name}-alone`)];
    // Thirty steps of AdamW enlarge the rounding; a step is 0.01.
    for (const [tensor, values] of expected) expect(maxDifference(found.get(tensor)!, values)).toBeLessThan(2e-3);
  }
  const gated = await skein("gate", at("each/up"), at("each/down"), ...data, "--steps", "3", "--batch-size", "2", "--json");
  expect(JSON.parse(gated.out)).toEqual({ experts: [at("each/up"), at("each/down")] });
  expect(await readFile(at("each/down/gate_config.json"), "utf8")).toContain("PHATGOOSE");
});

test.each<[string, string[], string]>([
  ["several files for one expert", ["--out", "one"], "--out-each DIR"],
  ["a folder for all and one for each", ["--out", "one", "--out-each", "each"], "Omit --out"],
  ["no folder", [], "--out DIR"],
  ["fewer files for validation", ["--out-each", "each", "--validation", "up.jsonl"], "1 files of --validation for 2"],
])("%s are refused", async (_, options, message) => {
  const files = options.length === 0 ? [at("up.jsonl")] : [at("up.jsonl"), at("down.jsonl")];
  const { code, err } = await skein("train", "--base", at("base"), "--data", ...files, ...options);
  expect(err).toContain(message);
  expect(code).toBe(1);
});

test("a run that is asked to stop saves, says how to go on, and exits with 1", async () => {
  const command = ["train", "--base", at("base"), "--data", at("up.jsonl"), "--out", at("stopped"), "--steps", "100000", ...SMALL];
  const child = spawn(process.execPath, [BIN, ...command], { stdio: ["ignore", "ignore", "pipe"] });
  let err = "";
  child.stderr.on("data", (text) => {
    err += text;
    if (String(text).includes("1/100000")) child.kill("SIGINT");
  });
  expect(await new Promise((resolve) => child.once("exit", resolve))).toBe(1);
  expect(err).toMatch(/StoppedError: Stopped after \d+ of 100000 steps/);
  expect(err).toContain("Run the same command again");
});

test("a large file is learned row by row with progress; --check names its bad rows before the first step", async () => {
  const rows = Array.from({ length: 60_000 }, (_, i) => JSON.stringify({ input: `red ${"green ".repeat(8)}${i}`, target: "one" }));
  await writeFile(at("large.jsonl"), rows.join("\n"));
  const command = ["--base", at("base"), "--out", at("large"), "--steps", "3", ...SMALL, "--json"];
  const { code, err } = await skein("train", ...command, "--data", at("large.jsonl"));
  expect(code).toBe(0);
  const parts = err.match(/(?<="progress":")\w+/g)!;
  expect(new Set(parts)).toEqual(new Set(["read", "train", "check"]));
  expect(parts.length).toBeLessThan(250);
  await writeFile(at("large.jsonl"), [...rows, "no row", ...rows.slice(0, 9), "{}"].join("\n"));
  const refused = await skein("train", ...command, "--data", at("large.jsonl"), "--check", "--run", at("checked.run"));
  expect(refused.code).toBe(1);
  expect(refused.err).toContain(`${at("large.jsonl")}, line 60001`);
  expect(refused.err).toContain("1 more row has problems: line 60011.");
  expect(refused.err).not.toContain('"progress":"train"');
});

test.each<[string, string[], string]>([
  ["a learning rate below 0", ["up.jsonl", "--lr", "-1"], "lr"],
  ["an unknown schedule", ["up.jsonl", "--schedule", "bumpy"], "schedule"],
  ["targets that name nothing", ["up.jsonl", "--targets", "nothing"], "No module of the base"],
  ["a dataset that is not there", ["nowhere.jsonl"], "nowhere.jsonl"],
])("%s is refused before anything is written", async (_, [file, ...options], message) => {
  const { code, err } = await skein("train", "--base", at("base"), "--data", at(file!), "--out", at("refused"), ...options);
  expect(err).toContain(message);
  expect(code).toBe(1);
  await expect(readFile(at("refused/adapter_config.json"))).rejects.toThrow("ENOENT");
});
