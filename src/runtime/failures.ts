/** @file What ONNX Runtime's messages say of a device: it is missing, lost, or has too little memory. */

import { EngineError, messageOf } from "../base/errors.ts";
import type { Engine } from "./engine.ts";

/** The first line without ONNX Runtime's own file, line and condition. */
function reasonIn(message: string): string {
  return message.split("\n")[0]!.replace(/^.*\bwas false\. /, "");
}

// In 1.30.0 a buffer that cannot be had is reported on stderr, and its first use fails as "Invalid Buffer".
const LOST = /device (?:is |was )?lost|DEVICE_LOST/i;
const OUT_OF_MEMORY = /max buffer size limit|out of (?:device )?memory|OUT_OF_(?:DEVICE|HOST)_MEMORY|Invalid Buffer|failed to allocate/i;
const GOES_ON = "A training run goes on from its last state with the same call, on another device too.";

/** The error for a device that is lost or has too little memory; undefined for other failures. */
export function failureOf({ device, name }: Engine, cause: unknown): EngineError | undefined {
  const message = messageOf(cause);
  if (device === "cpu") return undefined;
  if (LOST.test(message)) {
    return new EngineError({
      code: "engine-device-lost",
      what: `The device of the engine ${name} is lost: ${reasonIn(message)}`,
      fix: `Start the program again, or compute on the CPU. ${GOES_ON}`,
      cause,
    });
  }
  if (!OUT_OF_MEMORY.test(message)) return undefined;
  return new EngineError({
    code: "engine-out-of-memory",
    what: `The device of the engine ${name} has too little memory, or a tensor is larger than it allows: ${reasonIn(message)}`,
    fix: `Compute fewer rows or shorter texts at once, take a base in fewer bits, or compute on the CPU. ${GOES_ON}`,
    cause,
  });
}

/** The error for a device that no session can be made on; undefined for other failures. */
export function missingDevice({ device, name }: Engine, cause: unknown): EngineError | undefined {
  const message = messageOf(cause);
  if (device === "cpu" || !/adapter|WebGPU|Vulkan|device|backend|provider/i.test(message)) return undefined;
  return new EngineError({
    code: "engine-no-device",
    what: `The engine ${name} found no device that it can use: ${reasonIn(message)}`,
    fix: "Install the driver of the GPU (on Linux a Vulkan driver and its loader, libvulkan1), or compute on the CPU.",
    cause,
  });
}
