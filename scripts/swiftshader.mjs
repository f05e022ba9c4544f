/** @file Where SwiftShader, the software Vulkan of Chromium, is on this machine: WebGPU is tested on it without a GPU. */

import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const CHROMIUM = "/usr/lib/chromium";
const DRIVER = join(CHROMIUM, "vk_swiftshader_icd.json");
const LOADER = "libvulkan.so.1";
const SYSTEM = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];

/** The environment that Vulkan needs to find SwiftShader, and what is missing on this machine: a reason, or undefined. Chromium has a copy of
 *  Vulkan's loader, but a process finds it only if `libraries` was in LD_LIBRARY_PATH when it started.
 *  @returns {{ missing: string | undefined, env: { VK_DRIVER_FILES: string, XDG_RUNTIME_DIR: string }, libraries: string | undefined }} */
export function swiftshader() {
  const paths = [...SYSTEM, ...(process.env.LD_LIBRARY_PATH ?? "").split(":").filter(Boolean)];
  const hasLoader = paths.some((path) => existsSync(join(path, LOADER)));
  const libraries = !hasLoader && existsSync(join(CHROMIUM, LOADER)) ? CHROMIUM : undefined;
  const lacking = [...(existsSync(DRIVER) ? [] : [DRIVER]), ...(hasLoader ? [] : [LOADER])];
  const missing = lacking.length === 0 ? undefined : `${lacking.join(" and ")} is missing; on Debian: apt install chromium libvulkan1`;
  return { missing, env: { VK_DRIVER_FILES: DRIVER, XDG_RUNTIME_DIR: process.env.XDG_RUNTIME_DIR ?? tmpdir() }, libraries };
}
