import { expect, test } from "vitest";
import { failureOf } from "./failures.ts";
import { cpu, webgpu } from "./onnxruntime-node.ts";

test.each([
  ["Buffer size (2147483648) exceeds the max buffer size limit (1073741824).", "engine-out-of-memory"],
  ["WebGPU validation failed. [Invalid Buffer (unlabeled)] is invalid due to a previous error.", "engine-out-of-memory"],
  ["vkAllocateMemory failed with VK_ERROR_OUT_OF_DEVICE_MEMORY", "engine-out-of-memory"],
  ["WebGPU device lost (2): Device was destroyed.", "engine-device-lost"],
  ["vkQueueSubmit failed with VK_ERROR_DEVICE_LOST", "engine-device-lost"],
])("%s", (message, code) => {
  const error = failureOf(webgpu, new Error(message));
  expect(error).toMatchObject({ code, cause: { message } });
  expect(error!.what).toContain(message);
  expect(error!.fix).toContain("goes on from its last state");
});

test("other failures, and those of the CPU, stay as they are", () => {
  expect(failureOf(webgpu, new Error("Invalid rank for input: x"))).toBeUndefined();
  expect(failureOf(cpu, new Error("out of memory"))).toBeUndefined();
});
