/** @file The package `onnxruntime-node`. Only this file loads it, and only when the first graph is loaded: commands and programs that compute
 *  nothing work without the native library. */

import { readdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type * as Ort from "onnxruntime-node";
import { EngineError, messageOf } from "../../base/errors.ts";
import type { Device } from "../engine.ts";

export type Library = typeof Ort;
export type { Ort };

let known: Promise<Library> | undefined;

/** The native library, loaded once a process. A failure is not remembered. */
export function library(): Promise<Library> {
  known ??= openLibrary(() => import("onnxruntime-node")).catch((error: unknown) => {
    known = undefined;
    throw error;
  });
  return known;
}

/** Why this installation of ONNX Runtime has no such device; undefined if it has it. Whether the machine has one too, only a session tells. */
export async function notInstalled(device: Device): Promise<string | undefined> {
  const found = (await library()).listSupportedBackends().find(({ name }) => name === device);
  if (!found) return `this build of ONNX Runtime has no ${device}`;
  const name = `onnxruntime_providers_${device}`;
  const files = join(dirname(createRequire(import.meta.url).resolve("onnxruntime-node")), "..", "bin");
  if (found.bundled || (await readdir(files, { recursive: true })).some((file) => file.includes(name))) return undefined;
  return `the package onnxruntime-node comes without ${name}; its install script downloads it`;
}

/** Loads the package. A failure becomes an error that says what to install. */
export async function openLibrary<T>(load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (cause) {
    throw new EngineError({
      code: "engine-not-loadable",
      what: `The engine, ONNX Runtime, cannot be loaded: ${messageOf(cause).split("\n")[0]}`,
      where: `package onnxruntime-node on ${process.platform} ${process.arch}, Node ${process.version}`,
      fix:
        "Install the package: ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node@1.30.0. It runs on Linux with glibc (x64, arm64), " +
        "macOS (arm64) and Windows (x64, arm64). Alpine Linux has no glibc.",
      cause,
    });
  }
}
