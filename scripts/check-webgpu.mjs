/** @file Runs tests with every session on WebGPU.
 *
 *      node scripts/check-webgpu.mjs [--short] [--gpu] [vitest's own arguments]
 *
 *  Without a GPU it uses SwiftShader, the software Vulkan of Chromium. If SwiftShader is missing, nothing runs and the reason is printed;
 *  this is not a failure. `--gpu` uses the machine's GPU instead. `--short` runs the engine's own tests, one routed model and one training
 *  graph. The environment variable SKEIN_SKIP_WEBGPU skips everything, to save time. */

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const SWIFTSHADER = "/usr/lib/chromium/vk_swiftshader_icd.json";
const SHORT = ["src/runtime", "tests/lowered-models.test.ts", "-t", "webgpu'? (a routed|the gradients)|stay on"];
const WHOLE = [
  "src/graph",
  "src/autodiff",
  "src/runtime",
  "src/models",
  "src/routing",
  "src/training",
  "src/generation",
  "tests/golden-properties.test.ts",
  "tests/lowered-models.test.ts",
  "tests/webgpu-placement.test.ts",
];

const given = process.argv.slice(2);
const has = (flag) => given.includes(flag);
const own = given.filter((argument) => argument !== "--short" && argument !== "--gpu");
if (process.env.SKEIN_SKIP_WEBGPU) {
  console.log("WebGPU is not tested here: SKEIN_SKIP_WEBGPU is set.");
} else if (!has("--gpu") && !existsSync(SWIFTSHADER)) {
  console.log(`WebGPU is not tested here: ${SWIFTSHADER} is missing. On Debian: apt install chromium libvulkan1. With a GPU: --gpu.`);
} else {
  const env = { ...process.env, SKEIN_DEVICE: "webgpu", XDG_RUNTIME_DIR: process.env.XDG_RUNTIME_DIR ?? tmpdir() };
  if (!has("--gpu")) env.VK_DRIVER_FILES = SWIFTSHADER;
  const tests = own.length > 0 ? own : has("--short") ? SHORT : WHOLE;
  const limits = ["--testTimeout", "600000", "--hookTimeout", "600000"];
  const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
  process.exitCode = spawnSync(process.execPath, [vitest, "run", ...limits, ...tests], { cwd: root, env, stdio: "inherit" }).status ?? 1;
}
