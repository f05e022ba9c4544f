/** @file A test at full size: a model with the shape of Qwen2.5-0.5B and random weights is loaded, trained for ten LoRA steps,
 *  routed among 8 experts, and generates. Each part runs in its own process and prints its time and peak memory.
 *
 *      node bench/full-size.mjs [--dtype BF16] [--rows 1] [--width 128]
 *
 *  Needs 1 GB of disk in the temporary folder (2 GB for F32) and 8 GB of memory. */

import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { buildIfStale } from "../scripts/build.mjs";

const { values: options } = parseArgs({
  options: {
    dtype: { type: "string", default: "BF16" },
    rows: { type: "string", default: "1" },
    width: { type: "string", default: "128" },
    // Runs one part in this process, with the checkpoint in a folder.
    part: { type: "string" },
    folder: { type: "string" },
  },
});
const EXPERTS = 8;
const [STEPS, NEW_TOKENS] = [10, 16];
const MODEL = "qwen2.5-0.5b";

const PARTS = { train, generate: (folder) => generate(folder, 0), "generate routed": (folder) => generate(folder, EXPERTS) };

if (options.part) {
  const start = performance.now();
  const said = await PARTS[options.part](options.folder);
  console.log(`${options.part}: ${said}; ${seconds(start)} s in all`);
} else {
  if (!(await buildIfStale())) process.exit(1);
  const { CONFIGS, writeRandomCheckpoint } = await import("./random-checkpoint.mjs");
  const folder = mkdtempSync(join(tmpdir(), "skein-full-size-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  const start = performance.now();
  const bytes = writeRandomCheckpoint(folder, CONFIGS[MODEL], options.dtype);
  console.log(`${MODEL} in ${options.dtype}: ${(bytes / 2 ** 20).toFixed(0)} MB of weights, written in ${seconds(start)} s`);
  for (const part of Object.keys(PARTS)) {
    const own = ["--part", part, "--folder", folder, "--rows", options.rows, "--width", options.width];
    const { status } = spawnSync(process.execPath, [fileURLToPath(import.meta.url), ...own], { stdio: "inherit" });
    if (status !== 0) process.exitCode = 1;
  }
}

async function train(folder) {
  const { trainingWork } = await import("./work.mjs");
  const start = performance.now();
  const work = await trainingWork(folder, { rows: Number(options.rows), width: Number(options.width) });
  const loaded = seconds(start);
  const losses = [];
  const times = [];
  for (let step = 0; step < STEPS; step++) {
    const before = performance.now();
    losses.push((await work.run()).loss);
    times.push(performance.now() - before);
  }
  const used = memory();
  await work.dispose();
  if (!(losses.at(-1) < losses[0])) throw new Error(`the loss did not fall: ${losses.join(", ")}`);
  const median = [...times].sort((a, b) => a - b)[STEPS / 2];
  return `opened in ${loaded} s, ${STEPS} LoRA steps of ${options.rows} x ${options.width} tokens, ${(median / 1000).toFixed(2)} s each; ${used}`;
}

async function generate(folder, experts) {
  const { loadModel } = await import("../dist/library/model.js");
  const { generateBatch } = await import("../dist/generation/generate.js");
  const { randomIds, randomPool } = await import("./work.mjs");
  const start = performance.now();
  const base = await loadModel(folder);
  const model = experts > 0 ? base.withWoven(randomPool(base, experts)) : base;
  const prompt = [...randomIds(1, 32, model.base.architecture.vocabularySize).data].map(Number);
  const settings = { temperature: 0, ignoreEos: true };
  await generateBatch(model, [prompt], { ...settings, maxNewTokens: 1 });
  const opened = seconds(start);
  const begun = performance.now();
  const [completion] = await generateBatch(model, [prompt], { ...settings, maxNewTokens: NEW_TOKENS });
  if (completion.ids.length !== NEW_TOKENS) throw new Error(`${completion.ids.length} tokens instead of ${NEW_TOKENS}`);
  const said = `first token after ${opened} s, then ${NEW_TOKENS} tokens after a prompt of 32 in ${seconds(begun)} s; ${memory()}`;
  await base.dispose();
  return said;
}

function seconds(start) {
  return ((performance.now() - start) / 1000).toFixed(1);
}

/** The peak resident memory, and how much of the present memory is mapped from files. */
function memory() {
  const peak = Math.round(process.resourceUsage().maxRSS / 1024);
  if (process.platform !== "linux") return `${peak} MB at most`;
  const status = readFileSync("/proc/self/status", "utf8");
  const mapped = Math.round(Number(/RssFile:\s+(\d+)/.exec(status)[1]) / 1024);
  return `${peak} MB at most (now ${mapped} MB of it mapped from files)`;
}
