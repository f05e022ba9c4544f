/** @file Pools on disk: how long a pool takes from the start of a process to the first token, and how much memory; and how long an expert
 *  takes to join an open pool.
 *
 *      node bench/pools.mjs [--experts 166] [--dtype F32] [--rounds 3] [--add BASE]     needs npm run build
 *
 *  Opening uses the demo's base and random experts of rank 16 in the temporary folder. `--add`: a base (any size) whose random experts join a
 *  pool of eight. Memory is the peak above that of the same process without a pool, over the bytes of the experts' files. */

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values: options } = parseArgs({
  options: {
    experts: { type: "string", default: "166" },
    dtype: { type: "string", default: "F32" },
    rounds: { type: "string", default: "3" },
    add: { type: "string" },
    // Runs one part in this process.
    pool: { type: "string" },
    router: { type: "string" },
  },
});
const BASE = fileURLToPath(new URL("../assets/demo-base", import.meta.url));

if (options.router) await open(options.pool, options.router);
else await compare();

/** Opens a pool in this process and prints the time of the first token since the process began, and the peak memory. */
async function open(pool, router) {
  const { loadModel } = await import("../dist/library/model.js");
  const model = await loadModel(BASE, router === "none" ? {} : { pool, router });
  let milliseconds = 0;
  for await (const event of model.generate("opposite : 1. hot", { maxNewTokens: 1, ignoreEos: true })) {
    if (event.kind === "token") milliseconds ||= performance.now();
  }
  console.log(JSON.stringify({ milliseconds: Math.round(milliseconds), bytes: process.resourceUsage().maxRSS * 1024 }));
  await model.dispose();
}

async function compare() {
  const { writeRandomPool } = await import("./random-pool.mjs");
  const folder = mkdtempSync(join(tmpdir(), "skein-pools-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  const pool = join(folder, "pool");
  const bytes = await writeRandomPool(pool, BASE, { count: Number(options.experts), dtype: options.dtype });
  console.log(`${options.experts} experts in ${options.dtype}, ${(bytes / 1e6).toFixed(0)} MB`);
  const run = (router) => child(pool, router, folder);
  for (const router of ["arrow", "spectr"]) console.log(`${router}, the first time: ${run(router).milliseconds} ms`);
  const rounds = Array.from({ length: Number(options.rounds) }, () => ["none", "phatgoose", "arrow", "spectr"].map(run));
  const median = (i, key) => rounds.map((round) => round[i][key]).sort((a, b) => a - b)[rounds.length >> 1];
  console.log(`no pool: ${median(0, "milliseconds")} ms, ${(median(0, "bytes") / 1e6).toFixed(0)} MB`);
  for (const [i, router] of ["phatgoose", "arrow", "spectr"].entries()) {
    const own = median(i + 1, "bytes") - median(0, "bytes");
    console.log(`${router}: ${median(i + 1, "milliseconds")} ms, ${(own / 1e6).toFixed(0)} MB, ${(own / bytes).toFixed(2)} of the files`);
  }
  if (options.add) await adding(options.add);
}

function child(pool, router, cache) {
  const own = [fileURLToPath(import.meta.url), "--pool", pool, "--router", router];
  const { status, stdout, stderr } = spawnSync(process.execPath, own, { encoding: "utf8", env: { ...process.env, SKEIN_CACHE: cache } });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}

/** An expert joins an open pool: the time of `with`, for experts in memory. */
async function adding(base) {
  const { loadModel } = await import("../dist/library/model.js");
  const { RoutedPool } = await import("../dist/inference/routed-pool.js");
  const { routerNamed } = await import("../dist/methods/registry.js");
  const { randomExperts } = await import("./work.mjs");
  const model = await loadModel(base);
  const experts = randomExperts(model, 12);
  let pool = new RoutedPool(experts.slice(0, 8), model.base.modules, { router: routerNamed("phatgoose", {}) });
  const { key } = pool;
  const times = experts.slice(8).map((expert) => {
    const start = performance.now();
    pool = pool.with(expert);
    void pool.feeds;
    return performance.now() - start;
  });
  if (pool.key !== key) throw new Error("a new session is needed");
  console.log(`an expert joins a pool over ${base}: ${times.map((time) => time.toFixed(0)).join(", ")} ms, no new session`);
  await model.dispose();
}
