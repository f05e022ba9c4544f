/** @file PyTorch as a peer, at its best: the scripts beside this file run with several settings of its BLAS and with bfloat16, and the fastest
 *  of each measurement counts and is named. A setting whose matrix product has less than half of the speed of another's is not timed further. */

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const PYTHON = "/usr/bin/python3"; // Debian's own, which has python3-torch

/** OpenBLAS's names of the kernels that suit this processor. By itself it picks a slow one on some processors. */
function coreTypes() {
  const flags = process.platform === "linux" ? readFileSync("/proc/cpuinfo", "utf8") : "";
  if (/\bavx512_bf16\b/.test(flags)) return ["COOPERLAKE", "SKYLAKEX"];
  if (/\bavx512f\b/.test(flags)) return ["SKYLAKEX"];
  return /\bavx2\b/.test(flags) ? ["HASWELL"] : [];
}

/** Name -> environment and arguments; the likely fastest first. */
function settings(threads) {
  const quiet = { OMP_WAIT_POLICY: "PASSIVE", OPENBLAS_NUM_THREADS: String(threads) };
  const kernels = coreTypes();
  const tuned = kernels.map((type) => [`OPENBLAS_CORETYPE=${type}`, { env: { ...quiet, OPENBLAS_CORETYPE: type }, args: [] }]);
  const best = kernels.at(-1);
  const environment = best ? { ...quiet, OPENBLAS_CORETYPE: best } : quiet;
  return new Map([...tuned, ["bfloat16 autocast", { env: environment, args: ["--bfloat16"] }], ["as installed", { env: {}, args: [] }]]);
}

// A product of 512 x 512. The reference BLAS, which Debian installs without OpenBLAS, takes some 20 ms or more for it.
const PRODUCT = `
import time, torch
a = torch.randn(512, 512)
def ms():
    start = time.perf_counter()
    a @ a
    return 1e3 * (time.perf_counter() - start)
print(min(ms() for _ in range(5)))`;
const SLOW_MS = 12;

/** Whether PyTorch is here with a fast BLAS, with any of the settings. */
export function hasTorch() {
  const times = [...settings(1).values()].map(({ env }) => {
    const { status, stdout } = spawnSync(PYTHON, ["-c", PRODUCT], { encoding: "utf8", env: { ...process.env, ...env } });
    return status === 0 ? Number(stdout) : Number.POSITIVE_INFINITY;
  });
  return Math.min(...times) < SLOW_MS;
}

/** The best time of each measurement of `script` ("t5" or "llama"), and the setting that gave it. */
export function torchAtItsBest(script, { threads, repeats, routed, onSetting = () => {} }) {
  const best = {};
  const tried = {};
  let leastGflops = 0;
  for (const [name, { env, args }] of settings(threads)) {
    onSetting(name);
    const file = fileURLToPath(new URL(`${script}.py`, import.meta.url));
    const own = [...args, "--repeats", String(repeats), "--threads", String(threads), "--least-gflops", String(leastGflops)];
    if (routed) own.push("--routed", String(routed));
    const { status, stdout, stderr } = spawnSync(PYTHON, [file, ...own], { encoding: "utf8", env: { ...process.env, ...env } });
    if (status !== 0) throw new Error(`${file} failed with ${name}:\n${stderr}`);
    tried[name] = JSON.parse(stdout);
    leastGflops = Math.max(leastGflops, tried[name].blasGflops / 2);
    for (const [key, ms] of Object.entries(tried[name])) {
      if (key.endsWith("Ms") && !(ms >= best[key]?.ms)) best[key] = { ms, setting: name };
    }
  }
  const { torch } = Object.values(tried)[0];
  return { torch, best, tried };
}
