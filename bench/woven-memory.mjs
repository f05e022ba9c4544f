/** @file Checks that models release their memory: 200 rounds of with(...) and dispose on one base.
 *
 *      node bench/woven-memory.mjs [rounds]        needs npm run build
 *
 *  Each round opens a pool under one of several methods, adds and removes an expert, computes a little, and disposes. The resident
 *  memory after the last round must be within 5 % of that after 20; if it is not, the exit code is 1. */

import { int64 } from "../dist/base/tensor.js";
import { RoutedPool } from "../dist/inference/routed-pool.js";
import { singleAdapter } from "../dist/inference/woven.js";
import { loadModel } from "../dist/library/model.js";
import { openMethod, parsedMethod } from "../dist/methods/registry.js";
import { randomExperts } from "./work.mjs";

const ROUNDS = Number(process.argv[2] ?? 200);
const SETTLED = 20;
const ALLOWED = 0.05;
const METHODS = ["phatgoose", "spectr", "arrow", "uniform", "smear"];

const root = await loadModel("assets/demo-base");
const experts = randomExperts(root, 6);
const ids = int64([1, 6], [5, 6, 7, 8, 9, 1]);
const batch = { inputIds: ids, ...(root.base.architecture.kind === "encoder-decoder" && { decoderInputIds: int64([1, 2], [0, 5]) }) };

let settled = 0;
for (let round = 1; round <= ROUNDS; round++) {
  const woven = await openMethod({ ...root, experts: experts.slice(0, 5) }, parsedMethod(METHODS[round % METHODS.length]));
  const values = [woven, singleAdapter(experts[round % 6].adapter, root.base.modules)];
  if (woven instanceof RoutedPool) values.push(woven.with(experts[5]).without(experts[round % 5].name));
  for (const value of values) {
    const model = root.withWoven(value);
    await model.forward(batch);
    await model.dispose();
  }
  if (round === SETTLED) settled = resident();
  if (round % SETTLED === 0) console.log(`${round} rounds: ${resident()} MB, ${root.runner.counts.kept} sessions`);
}
const growth = resident() / settled - 1;
console.log(`after ${ROUNDS} rounds ${(100 * growth).toFixed(1)} % above ${SETTLED} rounds`);
await root.dispose();
process.exitCode = growth <= ALLOWED ? 0 : 1;

/** Megabytes; after a garbage collection if node was started with --expose-gc. */
function resident() {
  globalThis.gc?.();
  return Math.round(process.memoryUsage.rss() / 2 ** 20);
}
