/** @file A pool made by one worker and by two, each on a core of its own (taskset, Linux), and whether both pools have the same bytes.
 *
 *      SKEIN_QUEUE=redis://127.0.0.1:6379 node bench/farm-workers.mjs recipes/pools/demo.yaml OUT
 *
 *  OUT gets the pools, and the stores that the workers share. OUT/one.farm is for bench/farm-simulation.mjs. */

import { spawn } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { filesBelow } from "../dist/fleet/store/trees.js";
import { fileHash } from "../dist/storage/files.js";

const bin = fileURLToPath(new URL("../bin/skein.js", import.meta.url));
const [recipe, out] = process.argv.slice(2);
if (!recipe || !out || !process.env.SKEIN_QUEUE) throw new Error("usage: SKEIN_QUEUE=... node bench/farm-workers.mjs RECIPE OUT");

const times = {};
for (const [name, cores] of Object.entries({ one: [0], two: [0, 1] })) {
  times[name] = await timed(name, cores);
  console.log(`${cores.length} ${cores.length === 1 ? "worker" : "workers"} of one core: ${times[name].toFixed(1)} s`);
}
console.log(`Speed-up: ${(times.one / times.two).toFixed(2)}`);
const [one, two] = await Promise.all(["one", "two"].map((name) => hashes(join(out, name))));
console.log(one === two ? "Both pools have the same bytes." : "The pools DIFFER.");
process.exitCode = one === two ? 0 : 1;

/** Seconds from the start of the workers until the pool is there. */
async function timed(name, cores) {
  const store = join(out, `store-${name}`);
  await mkdir(store, { recursive: true });
  const env = { ...process.env, SKEIN_STORE: store };
  const start = performance.now();
  const workers = cores.map((core) =>
    spawn("taskset", ["-c", String(core), process.execPath, bin, "farm", "worker"], { env, stdio: "ignore" }),
  );
  try {
    const farm = spawn(process.execPath, [bin, "farm", "run", recipe, "--no-evaluation", "--out", join(out, name)], {
      env,
      stdio: "inherit",
    });
    const code = await new Promise((ended) => farm.on("close", ended));
    if (code !== 0) throw new Error(`the farm ended with ${code}`);
    return (performance.now() - start) / 1000;
  } finally {
    for (const worker of workers) worker.kill("SIGTERM");
  }
}

async function hashes(pool) {
  const found = [];
  for (const [path, file] of await filesBelow(pool)) found.push(`${path} ${await fileHash(file)}`);
  return found.join("\n");
}
