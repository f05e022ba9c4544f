/** @file Runs tests with every session on WebGPU.
 *
 *      node scripts/check-webgpu.mjs [--short] [--gpu] [vitest's own arguments]
 *
 *  Without a GPU it uses SwiftShader, the software Vulkan of Chromium. If SwiftShader is missing, nothing runs and the reason is printed;
 *  this is not a failure. `--gpu` uses the machine's GPU instead. `--short` runs some operators, a routed generation and some training
 *  steps. The environment variable SKEIN_SKIP_WEBGPU skips everything, to save time; with the value "long", all but `--short`. */

import { spawnSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { swiftshader } from "./swiftshader.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const SHORT = ["tests/webgpu-short.test.ts"];
const WHOLE = [
  "src/graph",
  "src/autodiff",
  "src/runtime",
  "src/models",
  "src/routing",
  "src/training",
  "src/generation",
  "src/quantization/quantized-base.test.ts",
  "tests/golden-properties.test.ts",
  "tests/lowered-models.test.ts",
  "tests/webgpu-placement.test.ts",
  "tests/webgpu-short.test.ts",
  "tests/webgpu-demo.test.ts",
  "tests/webgpu-proof.test.ts",
  "tests/examples.test.ts",
];

const given = process.argv.slice(2);
const has = (flag) => given.includes(flag);
const own = given.filter((argument) => argument !== "--short" && argument !== "--gpu");
const skip = process.env.SKEIN_SKIP_WEBGPU;
const software = has("--gpu") ? undefined : swiftshader();
if (skip && !(skip === "long" && has("--short"))) {
  console.log("WebGPU is not tested here: SKEIN_SKIP_WEBGPU is set.");
} else if (software?.missing && !software.libraries) {
  console.log(`WebGPU is not tested here: ${software.missing}. With a GPU: --gpu.`);
} else {
  const env = { ...process.env, SKEIN_DEVICE: "webgpu", SKEIN_SKIP_WEBGPU: "", XDG_RUNTIME_DIR: process.env.XDG_RUNTIME_DIR ?? tmpdir() };
  if (software) Object.assign(env, software.env);
  if (software?.libraries) env.LD_LIBRARY_PATH = [software.libraries, process.env.LD_LIBRARY_PATH].filter(Boolean).join(":");
  const tests = own.length > 0 ? own : has("--short") ? SHORT : WHOLE;
  const limits = ["--testTimeout", "600000", "--hookTimeout", "600000"];
  const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
  process.exitCode = spawnSync(process.execPath, [vitest, "run", ...limits, ...tests], { cwd: root, env, stdio: "inherit" }).status ?? 1;
}
