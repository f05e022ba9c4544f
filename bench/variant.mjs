/** @file One measurement in its own process: `node bench/variant.mjs NAME FOLDER REPEATS [PROFILE]` prints
 *  { ms: [...], peakMb, mappedMb } as JSON, on the device that SKEIN_DEVICE names. With PROFILE, ONNX Runtime's profile is written to files of
 *  that prefix. */

import { readFileSync } from "node:fs";
import { VARIANTS } from "./variants.mjs";

const [name, folder, repeats, profile] = process.argv.slice(2);
const work = await VARIANTS[name].prepare(folder, profile ? { profile } : {});
await work.run(); // the first call allocates
const ms = [];
for (let i = 0; i < Number(repeats); i++) {
  const start = performance.now();
  const own = await work.run();
  // Decoding times its own steps, without the prompt.
  ms.push(typeof own === "number" ? own : performance.now() - start);
}
const memory = memoryMb();
await work.dispose();
console.log(JSON.stringify({ ms, ...memory }));

/** Peak resident memory, and how much of the present memory is mapped from files (the base's weights). */
function memoryMb() {
  const status = process.platform === "linux" ? readFileSync("/proc/self/status", "utf8") : "";
  const field = (key) => Number(new RegExp(`${key}:\\s+(\\d+) kB`).exec(status)?.[1] ?? Number.NaN) / 1024;
  return { peakMb: Math.round(process.resourceUsage().maxRSS / 1024), mappedMb: Math.round(field("RssFile")) };
}
