/** @file The engines that this machine can test, and the reasons why it cannot test the others.
 *
 *  WebGPU is tested without a GPU, with SwiftShader, the software Vulkan of Chromium. */

import { swiftshader } from "../scripts/swiftshader.mjs";
import { COMPOSED, FUSED, PLAIN, type Use } from "../src/graph/lowering/capabilities.ts";
import { lowered } from "../src/graph/lowering/lowered.ts";
import type { Engine } from "../src/runtime/engine.ts";
import { cpu, webgpu } from "../src/runtime/onnxruntime-node.ts";

const { missing, env } = swiftshader();

/** The reason why WebGPU is not tested here; undefined if it is tested. */
export const webgpuMissing = process.env.SKEIN_SKIP_WEBGPU ? "SKEIN_SKIP_WEBGPU is set" : missing;

// Read by the Vulkan loader when the first WebGPU session is made.
if (!webgpuMissing) {
  process.env.VK_DRIVER_FILES ??= env.VK_DRIVER_FILES;
  process.env.XDG_RUNTIME_DIR ??= env.XDG_RUNTIME_DIR;
}

export const ENGINES_HERE: readonly Engine[] = webgpuMissing ? [cpu] : [cpu, webgpu];

/** The engine, as if it lacked these uses of operators. */
export function lacking(engine: Engine, uses: readonly Use[], mixture?: "masked" | "sorted"): Engine {
  const capabilities = { ...engine.capabilities, lacks: Object.fromEntries(uses.map((use) => [use, "a test says so"])) };
  return {
    ...engine,
    name: `${engine.name} without ${uses.length} operators`,
    capabilities,
    load: (graph, options) => engine.load(lowered(graph, capabilities, { mixture, ...options }), options),
  };
}

/** Every use that has a decomposition. */
export const EVERY_USE: readonly Use[] = [...FUSED, ...PLAIN, ...COMPOSED];

/** The CPU, with all that stays on a device where an engine has device tensors. */
export const keeping: Engine = { ...cpu, name: "cpu that keeps tensors", capabilities: { ...cpu.capabilities, deviceTensors: true } };
