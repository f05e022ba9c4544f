import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { float32, type HostTensor, int64 } from "../base/tensor.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { fingerprint } from "./fingerprint.ts";
import { openSafetensors, type WriteOptions, writeSafetensors } from "./safetensors.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-fingerprint-"));
});
afterEach(() => rm(folder, { recursive: true }));

const wave = (size: number, phase = 0): HostTensor =>
  float32(
    [size],
    Float32Array.from({ length: size }, (_, i) => Math.sin(i + phase)),
  );
const BASE = { a: wave(1000), b: wave(5, 1), ids: int64([2], [3, 4]) };

async function of(tensors: Record<string, HostTensor>, options?: WriteOptions): Promise<string> {
  await writeSafetensors(join(folder, "model.safetensors"), tensors, options);
  return fingerprint(await openSafetensors(join(folder, "model.safetensors")));
}

test("float32 and bfloat16 copies of one model agree, and so does a float16 copy of a bfloat16 model", async () => {
  const original = await of(BASE);
  expect(original).toMatch(/^[0-9a-f]{64}$/);
  expect(await of(BASE, { dtype: "BF16" })).toBe(original);
  expect(await of({ a: float32([3], [0.5, -1.25, 3]) }, { dtype: "F16" })).toBe(await of({ a: float32([3], [0.5, -1.25, 3]) }));
});

test("another value, shape, name or number of tensors is another model", async () => {
  const others: Record<string, HostTensor>[] = [
    { ...BASE, a: wave(1000, 0.01) },
    { ...BASE, b: wave(6, 1) },
    { ...BASE, b: { ...wave(5, 1), shape: [1, 5] } },
    { a: BASE.a, b: BASE.b },
    { a: BASE.a, c: BASE.b, ids: BASE.ids },
    { ...BASE, ids: int64([2], [3, 5]) },
  ];
  const prints = await Promise.all(
    [BASE, ...others].map(async (tensors, i) => {
      const path = join(folder, `${i}.safetensors`);
      await writeSafetensors(path, tensors);
      return fingerprint(await openSafetensors(path));
    }),
  );
  expect(new Set(prints).size).toBe(7);
});

test("the last value of a tensor counts", async () => {
  const data = Float32Array.from(BASE.a.data, Number);
  data[999] = 7;
  expect(await of({ ...BASE, a: float32([1000], data) })).not.toBe(await of(BASE));
});

const SHARED = new URL("../../../shared/models/", import.meta.url).pathname;

test.skipIf(!existsSync(SHARED))(
  "a real model's float32, bfloat16 and sharded copies agree (skipped: it is not on this machine)",
  async () => {
    const folders = ["tinystories-260k-llama", "tinystories-260k-variants/bf16", "tinystories-260k-variants/sharded"];
    const prints = await Promise.all(folders.map(async (name) => fingerprint(await openCheckpoint(SHARED + name))));
    expect(new Set(prints).size).toBe(1);
  },
);
