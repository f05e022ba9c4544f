/** @file Speed and memory, compared with the same model without experts and with PyTorch.
 *
 *      npm run bench -- [--rounds 3] [--repeats 5] [--only llama] [--no-peers] [--slow-peers] [--force] [--out FILE.json]
 *
 *  Every variant runs in a new process. The order is reversed each round, so that a machine that becomes warm or busy does not
 *  favor one of them. A loaded machine is refused, except with --force, which marks the result. Weights are random. */

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, loadavg, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { buildIfStale } from "../scripts/build.mjs";

const { values: options } = parseArgs({
  options: {
    rounds: { type: "string", default: "3" },
    repeats: { type: "string", default: "5" },
    only: { type: "string", default: "" },
    "slow-peers": { type: "boolean", default: false },
    "no-peers": { type: "boolean", default: false },
    force: { type: "boolean", default: false },
    out: { type: "string" },
  },
});
const here = (name) => fileURLToPath(new URL(name, import.meta.url));
// The load of an idle machine; a higher load competes for the cores.
const BUSY = 0.3;
// GFLOP/s; below it is no optimized BLAS on any machine of this century.
const SLOW_BLAS = 15;
const PYTHON = "/usr/bin/python3"; // Debian's own, which has python3-torch

if (!(await buildIfStale())) process.exit(1);
const { VARIANTS, EXPERTS } = await import("./variants.mjs");
const { CONFIGS, writeRandomCheckpoint } = await import("./random-checkpoint.mjs");

const load = loadavg()[0];
if (load > BUSY) {
  console.error(`The machine is busy: its load is ${load.toFixed(2)} (at rest: below ${BUSY}). Times would say little.`);
  if (!options.force) {
    console.error("Wait until it rests, or add --force to measure all the same.");
    process.exit(1);
  }
}
const folder = mkdtempSync(join(tmpdir(), "skein-bench-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

const names = Object.keys(VARIANTS).filter((name) => name.includes(options.only));
const models = [...new Set(names.map((name) => VARIANTS[name].model))];
const baseMb = Object.fromEntries(models.map((model) => [model, writeRandomCheckpoint(join(folder, model), CONFIGS[model]) / 2 ** 20]));
const measured = measure();
const peers = options["no-peers"] ? {} : Object.fromEntries(models.map((model) => [model, peerOf(model)]));
const report = {
  machine: { cpu: cpus()[0].model, cores: cpus().length, memoryMb: Math.round(totalmem() / 2 ** 20), node: process.version, load },
  forced: load > BUSY,
  baseMb,
  variants: Object.fromEntries(names.map((name) => [name, summaryOf(name)])),
  peers,
};
if (options.out) writeFileSync(options.out, `${JSON.stringify(report, null, 2)}\n`);
else console.log(JSON.stringify(report));
printTable();

/** Name -> the runs of each round. */
function measure() {
  const runs = new Map(names.map((name) => [name, []]));
  for (let round = 0; round < Number(options.rounds); round++) {
    for (const name of round % 2 === 0 ? names : [...names].reverse()) {
      console.error(`round ${round + 1}: ${name}`);
      runs.get(name).push(json(process.execPath, [here("variant.mjs"), name, join(folder, VARIANTS[name].model), options.repeats]));
    }
  }
  return runs;
}

/** The results of a PyTorch script; undefined if it cannot run, with the reason on stderr. */
function peerOf(model) {
  if (spawnSync(PYTHON, ["-c", "import torch"]).status !== 0) {
    console.error("No PyTorch to compare with: install Debian's python3-torch and libopenblas0-pthread.");
    return undefined;
  }
  const blas = json(PYTHON, ["-c", "import sys; sys.path.insert(0, sys.argv[1]); import t5; print(t5.blas_gflops())", here("peers")]);
  if (blas < SLOW_BLAS && !options["slow-peers"]) {
    console.error(
      `PyTorch's BLAS is the slow reference one (${blas} GFLOP/s): no fair peer, and minutes a call. Install libopenblas0-pthread,`,
    );
    console.error("or add --slow-peers.");
    return undefined;
  }
  console.error(`PyTorch: ${model}`);
  const threads = String(cpus().length);
  const routed = model === "t5" ? ["--routed", String(EXPERTS)] : [];
  return json(PYTHON, [here(`peers/${model}.py`), "--repeats", options.repeats, "--threads", threads, ...routed]);
}

function json(command, args) {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: "utf8", maxBuffer: 2 ** 26 });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} failed:\n${stderr}`);
  return JSON.parse(stdout);
}

function summaryOf(name) {
  const runs = measured.get(name);
  const all = runs.flatMap(({ ms }) => ms);
  return {
    medianMs: median(all),
    peakMb: Math.max(...runs.map(({ peakMb }) => peakMb)),
    mappedMb: runs[0].mappedMb,
    rawMs: runs.map(({ ms }) => ms),
  };
}

function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function printTable() {
  const rows = [["", "median ms", "to base", "to PyTorch", "peak MB", "of it mapped"]];
  for (const name of names) {
    const { base, peer, model } = VARIANTS[name];
    const { medianMs, peakMb, mappedMb } = report.variants[name];
    const ratio = (other) => (other === undefined ? "" : (medianMs / other).toFixed(2));
    const peerMs = peer && peers[model]?.[peer];
    rows.push([name, medianMs.toFixed(1), ratio(base && report.variants[base]?.medianMs), ratio(peerMs), String(peakMb), String(mappedMb)]);
  }
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  for (const row of rows) console.error(row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join("  "));
  for (const model of models) console.error(`${model}: the base's weights are ${baseMb[model].toFixed(0)} MB`);
  for (const [model, peer] of Object.entries(peers))
    if (peer) console.error(`PyTorch ${peer.torch}, ${model}: a matrix product at ${peer.blasGflops} GFLOP/s`);
}
