import { expect, test } from "vitest";
import { OptionError } from "../base/errors.ts";
import { engineFor, fastest, speedOf } from "./device.ts";
import { notInstalled } from "./onnxruntime/library.ts";
import { cpu, webgpu } from "./onnxruntime-node.ts";
import { ENGINES } from "./session.ts";

const speed = (gflops: number, gigabytes: number) => ({ gflops, gigabytes });

test("a device must be a tenth faster than the CPU", () => {
  const choose = (gpu: ReturnType<typeof speed> | { missing: string }) =>
    fastest([
      { engine: cpu, speed: speed(100, 10) },
      { engine: webgpu, speed: gpu },
    ]);
  expect(choose(speed(1000, 100))).toBe(webgpu);
  expect(choose(speed(104, 10.4))).toBe(cpu);
  expect(choose(speed(1, 1))).toBe(cpu);
  expect(choose({ missing: "no adapter" })).toBe(cpu);
});

test("auto is a device that computes here", async () => {
  const engine = await engineFor("auto");
  expect(ENGINES).toContain(engine);
  expect(await speedOf(engine, { square: 64, row: 64 })).toEqual({ gflops: expect.any(Number), gigabytes: expect.any(Number) });
});

test("a device that this build does not have is named, with the reason", async () => {
  const elsewhere = process.platform === "win32" ? "coreml" : "dml";
  expect(await notInstalled(elsewhere)).toBe(`this build of ONNX Runtime has no ${elsewhere}`);
  expect(await notInstalled("cpu")).toBeUndefined();
  await expect(engineFor("abacus" as "cpu")).rejects.toThrow(OptionError);
});
