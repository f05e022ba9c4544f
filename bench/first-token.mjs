/** @file How long a base takes from the start of a process to its first token, and its memory, in each precision.
 *
 *      node bench/first-token.mjs BASE [--rounds 3]        needs npm run build, and 8-bit and 4-bit weights that are cached already
 *
 *  Each run has a process of its own. Memory is the largest resident memory; of the present one, how much is mapped from files, which the
 *  system can take back, and how much is not. */

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: "string", default: "3" }, precision: { type: "string" } },
});
const [base] = positionals;
const PROMPT = [5, 6, 7, 8, 9, 10, 11, 12];

if (options.precision) await measure(options.precision);
else {
  for (let round = 0; round < Number(options.rounds); round++) {
    for (const precision of ["float32", "int8", "int4"]) {
      const own = [fileURLToPath(import.meta.url), base, "--precision", precision];
      spawnSync(process.execPath, own, { stdio: "inherit" });
    }
  }
}

async function measure(precision) {
  const { loadModel } = await import("../dist/library/model.js");
  const { generateBatch } = await import("../dist/generation/generate.js");
  const imported = performance.now();
  const model = await loadModel(base, { precision });
  const opened = performance.now();
  await generateBatch(model, [PROMPT], { temperature: 0, ignoreEos: true, maxNewTokens: 1 });
  const first = performance.now();
  await generateBatch(model, [PROMPT], { temperature: 0, ignoreEos: true, maxNewTokens: 16 });
  const seconds = (ms) => (ms / 1000).toFixed(2);
  console.log(
    `${precision}: first token after ${seconds(first)} s (code ${seconds(imported)}, base ${seconds(opened - imported)}); ${memory()}`,
  );
  await model.dispose();
}

function memory() {
  const peak = Math.round(process.resourceUsage().maxRSS / 1024);
  if (process.platform !== "linux") return `${peak} MB at most`;
  const status = readFileSync("/proc/self/status", "utf8");
  const part = (name) => Math.round(Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)[1]) / 1024);
  return `${peak} MB at most; now ${part("RssFile")} MB mapped, ${part("RssAnon")} MB not`;
}
