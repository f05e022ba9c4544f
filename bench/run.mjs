/** @file Speed and memory, compared with the same model without experts, with PyTorch and with llama.cpp.
 *
 *      npm run bench -- [--quick] [--rounds 3] [--repeats 3] [--only llama] [--device webgpu] [--no-peers] [--with-llama-cpp | --llama-cpp FOLDER] [--force] [--out FILE.json]
 *
 *  --quick leaves out the model of full size (q) and the curves. --with-llama-cpp installs node-llama-cpp in a temporary folder
 *  and compares q with it; --llama-cpp names a folder in which it is installed. PyTorch runs with several settings, and the fastest counts.
 *  --device measures another device than the CPU, without the peers, which compute on the CPU here.
 *
 *  Every variant runs in a new process. The order is reversed each round, so that a machine that becomes warm or busy does not
 *  favor one of them. A loaded machine is refused, except with --force, which marks the result. Weights are random.
 *
 *  All variants go to stderr, and the targets (targets.mjs) as a Markdown table to stdout. With --out, each run is kept beside FILE.json until
 *  the whole is done: the same command goes on where it was stopped, if the code is the same. */

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, loadavg, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { buildIfStale } from "../scripts/build.mjs";
import { median, unmeasuredNote, variantTable } from "./report.mjs";
import { targetTable } from "./targets.mjs";

const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    rounds: { type: "string" },
    repeats: { type: "string" },
    only: { type: "string", default: "" },
    device: { type: "string", default: "cpu" },
    "no-peers": { type: "boolean", default: false },
    "with-llama-cpp": { type: "boolean", default: false },
    "llama-cpp": { type: "string" },
    force: { type: "boolean", default: false },
    out: { type: "string" },
  },
});
const here = (name) => fileURLToPath(new URL(name, import.meta.url));
// The load of an idle machine; a higher load competes for the cores.
const BUSY = 0.3;
const TORCH_SCRIPTS = ["t5", "llama"];
const LLAMA_CPP = "node-llama-cpp@3.22.0";
const size = { rounds: options.rounds ?? (options.quick ? "1" : "3"), repeats: options.repeats ?? (options.quick ? "2" : "3") };

if (!(await buildIfStale())) process.exit(1);
const { VARIANTS, EXPERTS, GGUF_OF } = await import("./variants.mjs");
const { CONFIGS, writeRandomCheckpoint } = await import("./random-checkpoint.mjs");
const { writeRandomGguf } = await import("./gguf.mjs");
const { hasTorch, torchAtItsBest } = await import("./peers/torch.mjs");

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

const isQuick = ({ model, isLong }) => model !== "q" && !isLong;
const names = Object.keys(VARIANTS).filter((name) => name.includes(options.only) && !(options.quick && !isQuick(VARIANTS[name])));
const models = [...new Set(names.map((name) => VARIANTS[name].model))];
const baseMb = Object.fromEntries(models.map((model) => [model, writeRandomCheckpoint(join(folder, model), CONFIGS[model]) / 2 ** 20]));
// Weights of q in fewer bits are made for this run only.
process.env.SKEIN_CACHE = join(folder, "cache");
// Read by the processes of the variants.
process.env.SKEIN_DEVICE = options.device;
const llamaCpp = options["llama-cpp"] ?? (options["with-llama-cpp"] && models.includes("q") ? installedLlamaCpp() : undefined);
const say = (what) => console.error(`${(performance.now() / 1000).toFixed(0).padStart(4)} s  ${what}`);
const code = readFileSync(new URL("../dist/.stamp", import.meta.url), "utf8");
const kept = keptRuns();
measure();
const hasPeers = !options["no-peers"] && options.device === "cpu";
const peers = !hasPeers ? {} : Object.fromEntries(models.map((model) => [model, kept.peers[model] ?? peersOf(model)]));
const report = {
  device: options.device,
  machine: { cpu: cpus()[0].model, cores: cpus().length, memoryMb: Math.round(totalmem() / 2 ** 20), node: process.version, load },
  forced: load > BUSY,
  baseMb,
  variants: Object.fromEntries(names.map((name) => [name, summaryOf(name)])),
  peers,
  torchRuns: kept.torchRuns,
};
console.error(variantTable(report, VARIANTS));
if (options.device !== "cpu") console.log(unmeasuredNote(options.device));
console.log(targetTable(report));
if (options.out) {
  writeFileSync(options.out, `${JSON.stringify(report, null, 2)}\n`);
  rmSync(partialFile(), { force: true });
}

function partialFile() {
  return `${options.out}.partial`;
}

/** What an earlier run of the same code and settings has measured: the runs by variant, and the peers. */
function keptRuns() {
  const settings = JSON.stringify({ ...size, code, device: options.device });
  const none = { settings, runs: {}, peers: {}, torchRuns: {} };
  if (!options.out || !existsSync(partialFile())) return none;
  const found = JSON.parse(readFileSync(partialFile(), "utf8"));
  return found.settings === settings ? found : none;
}

function keep() {
  if (options.out) writeFileSync(partialFile(), JSON.stringify(kept));
}

/** Measures every variant once a round. */
function measure() {
  for (let round = 0; round < Number(size.rounds); round++) {
    for (const name of round % 2 === 0 ? names : [...names].reverse()) {
      kept.runs[name] ??= [];
      if (kept.runs[name].length > round) continue;
      say(`round ${round + 1}: ${name}`);
      kept.runs[name].push(json(process.execPath, [here("variant.mjs"), name, join(folder, VARIANTS[name].model), size.repeats]));
      keep();
    }
  }
}

/** What a model's peers need, by the names in VARIANTS; empty without them, with the reason on stderr. */
function peersOf(model) {
  const times = peerTimes(model);
  if (Object.keys(times).length > 0) kept.peers[model] = times; // a peer may be installed before the run goes on
  keep();
  return times;
}

function peerTimes(model) {
  const threads = cpus().length;
  if (model === "q") return llamaCpp ? llamaCppTimes(threads) : {};
  if (!TORCH_SCRIPTS.includes(model)) return {};
  if (!hasTorch()) {
    console.error("No PyTorch with a fast BLAS to compare with: install Debian's python3-torch and libopenblas0-pthread.");
    return {};
  }
  const onSetting = (name) => say(`PyTorch, ${model}: ${name}`);
  const routed = model === "t5" && !options.quick ? { routed: EXPERTS } : {};
  const { torch, best, tried } = torchAtItsBest(model, { threads, repeats: size.repeats, onSetting, ...routed });
  kept.torchRuns[model] = { torch, tried };
  return Object.fromEntries(Object.entries(best).map(([key, { ms, setting }]) => [key, { ms, name: `PyTorch ${torch}, ${setting}` }]));
}

function llamaCppTimes(threads) {
  const times = {};
  for (const type of Object.values(GGUF_OF)) {
    say(`llama.cpp: ${type}`);
    const file = join(folder, `q-${type}.gguf`);
    writeRandomGguf(file, CONFIGS.q, type);
    const args = ["--threads", String(threads), "--repeats", size.repeats];
    const { decodeMs, prefillMs } = json(process.execPath, [here("peers/llama-cpp.mjs"), file, llamaCpp, ...args]);
    times[`${type} decodeMs`] = { ms: decodeMs, name: `llama.cpp ${type}` };
    times[`${type} prefillMs`] = { ms: prefillMs, name: `llama.cpp ${type}` };
    rmSync(file);
  }
  return times;
}

/** Installs node-llama-cpp, whose package has a built llama.cpp, into a folder outside the repository. */
function installedLlamaCpp() {
  const target = join(folder, "llama-cpp");
  mkdirSync(target);
  writeFileSync(join(target, "package.json"), "{}");
  const { status, stderr } = spawnSync("npm", ["install", "--ignore-scripts", "--no-audit", LLAMA_CPP], { cwd: target, encoding: "utf8" });
  if (status !== 0) throw new Error(`${LLAMA_CPP} could not be installed:\n${stderr}`);
  return target;
}

function json(command, args) {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: "utf8", maxBuffer: 2 ** 26 });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} failed:\n${stderr}`);
  return JSON.parse(stdout);
}

function summaryOf(name) {
  const runs = kept.runs[name];
  const all = runs.flatMap(({ ms }) => ms);
  return {
    medianMs: median(all),
    peakMb: Math.max(...runs.map(({ peakMb }) => peakMb)),
    mappedMb: runs[0].mappedMb,
    rawMs: runs.map(({ ms }) => ms),
  };
}
