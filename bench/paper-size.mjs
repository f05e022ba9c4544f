/** @file The size of the PHATGOOSE paper: the shape of T5 v1.1 XL (2.8 billion weights) in 8 bits, routed among 166 experts of rank 16 on every
 *  projection, 71 MB of F16 each. Weights are random.
 *
 *      node bench/paper-size.mjs [--out FOLDER] [--experts 166] [--layers 24] [--tokens 16] [--keep] [--json FILE]
 *
 *  It says what disk it needs, makes the files in FOLDER (default: skein-paper-size in the temporary folder), and measures the base alone and
 *  the pool, each in a process of its own. A run that was stopped leaves its files, and the next one goes on with them. At the end they are
 *  deleted, except with --keep. `--layers 2 --experts 8` is a trial that takes seconds. Weights in 8 bits go to $SKEIN_CACHE or, under
 *  $XDG_CACHE_HOME, to Skein's cache; by default they lie in FOLDER too. */

import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statfsSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { buildIfStale } from "../scripts/build.mjs";

const { values: options } = parseArgs({
  options: {
    out: { type: "string", default: join(tmpdir(), "skein-paper-size") },
    experts: { type: "string", default: "166" },
    layers: { type: "string", default: "24" },
    tokens: { type: "string", default: "16" },
    keep: { type: "boolean", default: false },
    json: { type: "string" },
    // Runs one part in this process.
    part: { type: "string" },
  },
});
const [experts, layers, tokens] = [options.experts, options.layers, options.tokens].map(Number);
const PROMPT = 64;
const SHARD_BYTES = 2e9;
const [base, pool] = [join(options.out, `t5-xl-${layers}`), join(options.out, `pool-${layers}-${experts}`)];

const PARTS = {
  "write the base": writeBase,
  "write the pool": writePool,
  "quantize the base": quantize,
  "generate with the base": () => generate({}),
  "generate with the pool": () => generate({ pool, router: "phatgoose" }),
};

if (options.part) console.log(JSON.stringify(await PARTS[options.part]()));
else await main();

async function main() {
  if (!(await buildIfStale())) process.exit(1);
  await checkDisk();
  const results = {};
  for (const part of Object.keys(PARTS)) {
    results[part] = await measured(part);
    console.log(`${part}: ${lineOf(results[part])}`);
  }
  if (options.json) writeFileSync(options.json, `${JSON.stringify({ experts, layers, tokens, prompt: PROMPT, results }, null, 2)}\n`);
  if (!options.keep) for (const folder of [base, pool, ownCache()]) rmSync(folder, { recursive: true, force: true });
}

async function configOf() {
  const { CONFIGS } = await import("./random-checkpoint.mjs");
  return { ...CONFIGS["t5-xl"], num_layers: layers, num_decoder_layers: layers };
}

/** Says the bytes of all files, and stops if the disk has too little room for those that are missing. */
async function checkDisk() {
  const { shapesOf } = await import("./random-checkpoint.mjs");
  const shapes = [...shapesOf(await configOf()).entries()];
  const weights = shapes.reduce((sum, [, shape]) => sum + product(shape), 0);
  const projections = shapes.filter(([name, shape]) => shape.length === 2 && /\.(?:[qkvo]|w[io](?:_\d)?)\.weight$/.test(name));
  const needs = {
    base: 2 * weights,
    "base in 8 bits": weights,
    pool: experts * projections.reduce((sum, [, [out, inputs]]) => sum + 2 * (16 * (out + inputs) + inputs), 0),
  };
  const total = Object.values(needs).reduce((a, b) => a + b, 0);
  mkdirSync(options.out, { recursive: true });
  const { bavail, bsize } = statfsSync(options.out);
  const made = bytesIn(options.out);
  const parts = Object.entries(needs).map(([name, bytes]) => `${name} ${gigabytes(bytes)}`);
  console.log(
    `Disk: ${gigabytes(total)} (${parts.join(", ")}) in ${options.out}, which holds ${gigabytes(made)}; ${gigabytes(bavail * bsize)} are free.`,
  );
  if (bavail * bsize + made > total) return;
  console.error("That is too little. Free some space, or name another folder with --out.");
  process.exit(1);
}

function bytesIn(folder) {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries.reduce((sum, entry) => sum + (entry.isFile() ? statSync(join(entry.parentPath, entry.name)).size : 0), 0);
}

function ownCache() {
  return join(options.out, "cache");
}

/** Runs one part in a process of its own, and adds its peak memory. The system's highest mark counts pages of files, which it can take back
 *  (some virtual machines do not count them at all); the parent looks five times a second at how much is not such a page. */
async function measured(part) {
  const env = process.env.SKEIN_CACHE || process.env.XDG_CACHE_HOME ? process.env : { ...process.env, SKEIN_CACHE: ownCache() };
  const own = [fileURLToPath(import.meta.url), ...process.argv.slice(2), "--part", part];
  const child = spawn(process.execPath, own, { env, stdio: ["ignore", "pipe", "inherit"] });
  let [text, anonymous] = ["", 0];
  child.stdout.on("data", (data) => {
    text += data;
  });
  const watch = setInterval(() => {
    anonymous = Math.max(anonymous, memoryOf(child.pid).RssAnon ?? 0);
  }, 200);
  const status = await new Promise((resolve) => child.on("close", resolve));
  clearInterval(watch);
  if (status !== 0) throw new Error(`${part}: the process ended with ${status}`);
  return { ...JSON.parse(text), ...(anonymous > 0 && { peakAnonymousBytes: anonymous }) };
}

/** Linux's account of a process's memory, in bytes; empty elsewhere. */
function memoryOf(pid) {
  if (process.platform !== "linux" || !existsSync(`/proc/${pid}/status`)) return {};
  const fields = readFileSync(`/proc/${pid}/status`, "utf8").matchAll(/^(VmHWM|RssAnon|RssFile):\s+(\d+) kB$/gm);
  return Object.fromEntries([...fields].map(([, name, kilobytes]) => [name, 1024 * Number(kilobytes)]));
}

/** The seconds of `work`, its result, and this process's memory after it. */
async function timed(work) {
  const start = performance.now();
  const result = await work();
  const { RssAnon, RssFile } = memoryOf(process.pid);
  const memory = { peakBytes: process.resourceUsage().maxRSS * 1024, RssAnon, RssFile };
  return { seconds: (performance.now() - start) / 1000, ...memory, ...result };
}

/** The bytes of weights that the process maps, in memory or not. */
function mappedBytes() {
  if (process.platform !== "linux") return undefined;
  const maps = readFileSync("/proc/self/maps", "utf8").matchAll(/^([0-9a-f]+)-([0-9a-f]+) .*\.safetensors$/gm);
  return [...maps].reduce((sum, [, from, to]) => sum + Number.parseInt(to, 16) - Number.parseInt(from, 16), 0);
}

async function writeBase() {
  const { writeRandomCheckpoint } = await import("./random-checkpoint.mjs");
  const config = await configOf();
  return timed(async () => ({ bytes: writeRandomCheckpoint(base, config, "BF16", { shardBytes: SHARD_BYTES }) }));
}

async function writePool() {
  const { writeRandomPool } = await import("./random-pool.mjs");
  return timed(async () => ({ bytes: await writeRandomPool(pool, base, { count: experts, dtype: "F16" }) }));
}

async function quantize() {
  const { openBase } = await import("../dist/inference/base.js");
  return timed(async () => {
    await openBase(base, { precision: "int8" });
    return {};
  });
}

/** Opens the model, reads a prompt, and decodes greedily. */
async function generate(woven) {
  const { loadModel } = await import("../dist/library/model.js");
  const { Decoder } = await import("../dist/generation/decoder.js");
  const { likeliest, randomIds } = await import("./work.mjs");
  return timed(async () => {
    const start = performance.now();
    const model = await loadModel(base, { precision: "int8", ...woven });
    const loaded = performance.now();
    const decoder = await Decoder.open(model);
    const opened = performance.now();
    const slot = decoder.admit(Array.from(randomIds(1, PROMPT, model.base.architecture.vocabularySize).data, Number));
    while (!slot.logits) await decoder.step();
    const read = performance.now();
    const times = [];
    for (let i = 0; i < tokens; i++) {
      const before = performance.now();
      decoder.push(slot, likeliest(slot.logits));
      await decoder.step();
      times.push(performance.now() - before);
    }
    if (!slot.logits.every(Number.isFinite)) throw new Error("a logit is not finite");
    return {
      openSeconds: (opened - start) / 1000,
      filesSeconds: (loaded - start) / 1000,
      promptSeconds: (read - opened) / 1000,
      tokenSeconds: [...times].sort((a, b) => a - b)[times.length >> 1] / 1000,
      mappedBytes: mappedBytes(),
    };
  });
}

function lineOf({ seconds, bytes, openSeconds, filesSeconds, promptSeconds, tokenSeconds, peakBytes, peakAnonymousBytes, mappedBytes }) {
  const said = [];
  if (bytes !== undefined) said.push(gigabytes(bytes));
  if (openSeconds === undefined) said.push(`${seconds.toFixed(1)} s`);
  else {
    said.push(`opened in ${openSeconds.toFixed(1)} s (${filesSeconds.toFixed(1)} for files and experts)`);
    said.push(`a prompt of ${PROMPT} tokens ${promptSeconds.toFixed(2)} s`, `${tokenSeconds.toFixed(3)} s a token`);
  }
  const part = peakAnonymousBytes ? `, without pages of files ${gigabytes(peakAnonymousBytes)}` : "";
  if (mappedBytes) said.push(`${gigabytes(mappedBytes)} of weights mapped`);
  return [...said, `peak memory ${gigabytes(peakBytes)}${part}`].join("; ");
}

function product(shape) {
  return shape.reduce((a, b) => a * b, 1);
}

function gigabytes(bytes) {
  return `${(bytes / 1e9).toFixed(2)} GB`;
}
