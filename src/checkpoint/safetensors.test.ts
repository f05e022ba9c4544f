import { mkdtemp, readFile, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CheckpointError } from "../base/errors.ts";
import { float32, type HostTensor, int64 } from "../base/tensor.ts";
import { openSafetensors, readSafetensors, readTensor, writeSafetensors } from "./safetensors.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-safetensors-"));
});
afterAll(() => rm(folder, { recursive: true }));

const TENSORS: Record<string, HostTensor> = {
  flags: { dtype: "bool", shape: [3], data: Uint8Array.of(1, 0, 1) },
  "a.weight": float32([2, 3], [1, -2, 3.5, 0, 1e-8, 65504]),
  ids: int64([2], [-5, 7]),
  scalar: float32([], [0.25]),
  empty: float32([0, 4]),
  double: { dtype: "float64", shape: [1], data: Float64Array.of(Math.PI) },
  small: { dtype: "int8", shape: [2], data: Int8Array.of(-128, 127) },
  bytes: { dtype: "uint8", shape: [1], data: Uint8Array.of(200) },
  ["__proto__"]: { dtype: "int32", shape: [1], data: Int32Array.of(-9) },
};

/** A file with this header (an object, or raw text) and this many zero bytes of data. */
async function craft(header: unknown, dataBytes: number, claim?: bigint): Promise<string> {
  const json = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const file = new Uint8Array(8 + json.length + dataBytes);
  new DataView(file.buffer).setBigUint64(0, claim ?? BigInt(json.length), true);
  file.set(json, 8);
  const path = join(folder, "crafted.safetensors");
  await writeFile(path, file);
  return path;
}

const entry = (begin: number, end: number, shape = [(end - begin) / 4], dtype = "F32"): object => ({
  dtype,
  shape,
  data_offsets: [begin, end],
});

describe("round trip", () => {
  test("every dtype and shape comes back as it was written", async () => {
    const path = join(folder, "all.safetensors");
    await writeSafetensors(path, TENSORS, { metadata: { format: "pt", note: "é" } });
    expect(Object.fromEntries(await readSafetensors(path))).toEqual(TENSORS);
    expect((await openSafetensors(path)).metadata).toEqual({ format: "pt", note: "é" });
  });

  test("tensors start at multiples of their own size and the offsets are absolute", async () => {
    const path = join(folder, "aligned.safetensors");
    await writeSafetensors(path, new Map(Object.entries(TENSORS)));
    const { tensors, metadata } = await openSafetensors(path);
    expect(metadata).toEqual({ format: "pt" });
    expect(tensors.get("ids")!.offset % 8).toBe(0);
    expect(tensors.get("a.weight")!.offset % 4).toBe(0);
    const raw = await readFile(path);
    expect(raw.readFloatLE(tensors.get("a.weight")!.offset + 8)).toBe(3.5);
  });

  test("16-bit storage keeps integers whole and rounds floats to nearest even", async () => {
    const values = float32([6], [1, 1 + 2 ** -8, 1 + 3 * 2 ** -8, -Infinity, NaN, 1e-40]);
    const path = join(folder, "half.safetensors");
    await writeSafetensors(path, { values, ids: int64([1], [3]) }, { dtype: "BF16" });
    const bf16 = await readSafetensors(path);
    // bfloat16 has 7 fraction bits: 1 + 2^-8 ties down to 1, 1 + 3 * 2^-8 ties up to 1 + 2^-6.
    expect([...(bf16.get("values")!.data as Float32Array)]).toEqual([1, 1, 1 + 2 ** -6, -Infinity, NaN, 2 ** -133]);
    expect(bf16.get("ids")).toEqual(int64([1], [3]));
    await writeSafetensors(path, { values }, { dtype: "F16" });
    expect([...(await readSafetensors(path)).get("values")!.data]).toEqual([1, 1 + 2 ** -8, 1 + 3 * 2 ** -8, -Infinity, NaN, 0]);
  });

  test("a tensor of a linked file names the real file", async () => {
    const path = join(folder, "real.safetensors");
    await writeSafetensors(path, TENSORS);
    await symlink(path, join(folder, "link.safetensors"));
    const info = (await openSafetensors(join(folder, "link.safetensors"))).tensors.get("ids")!;
    expect(info.file.endsWith("real.safetensors")).toBe(true);
    expect(await readTensor(info)).toEqual(TENSORS.ids);
  });
});

describe("refused with a reason", () => {
  const cases: [string, RegExp, () => Promise<string>][] = [
    ["a missing file", /no such file/, async () => join(folder, "nowhere.safetensors")],
    ["a folder", /folder|directory/i, async () => folder],
    ["a header longer than the file", /claims 1000 bytes, the file has/, () => craft({}, 0, 1000n)],
    ["a header beyond all measure", /claims 1\d+ bytes, more than/, () => craft({}, 0, 2n ** 64n - 1n)],
    ["no JSON", /not JSON/, () => craft("{nonsense", 0)],
    ["a list for a header", /not a JSON object/, () => craft([], 0)],
    ["an unknown dtype", /unknown dtype "F31"/, () => craft({ a: entry(0, 4, [1], "F31") }, 4)],
    ["a dtype of Object's", /unknown dtype "toString"/, () => craft({ a: entry(0, 4, [1], "toString") }, 4)],
    ["overlap", /"b" overlaps/, () => craft({ a: entry(0, 8), b: entry(4, 12) }, 12)],
    ["a gap", /"b" leaves unused/, () => craft({ a: entry(0, 8), b: entry(12, 16) }, 16)],
    ["a gap at the start", /"a" leaves unused/, () => craft({ a: entry(4, 8) }, 8)],
    ["data missing at the end", /cut short/, () => craft({ a: entry(0, 8) }, 7)],
    ["data left over at the end", /goes on to byte/, () => craft({ a: entry(0, 8) }, 9)],
    ["a size unlike shape times dtype", /takes 12 bytes, its data_offsets span 8/, () => craft({ a: entry(0, 8, [3]) }, 8)],
    ["a negative size", /not a list of sizes/, () => craft({ a: entry(0, 8, [-1, -2]) }, 8)],
    ["a size beyond counting", /takes NaN bytes/, () => craft({ a: entry(0, 0, [2 ** 53 - 1, 2 ** 53 - 1, 0]) }, 0)],
    ["negative offsets", /not two offsets/, () => craft({ a: entry(-8, 0) }, 0)],
    ["a name given twice", /names "a" twice/, () => craft('{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"\\u0061":{}}', 0)],
    ["metadata that is not text", /__metadata__/, () => craft({ __metadata__: { n: 1 } }, 0)],
    ["a tensor that is no object", /not an object/, () => craft({ a: null }, 0)],
  ];
  test.each(cases)("%s", async (_, reason, make) => {
    const opening = openSafetensors(await make());
    await expect(opening).rejects.toThrow(CheckpointError);
    await expect(opening).rejects.toThrow(reason);
  });

  test("a file cut short after it was opened", async () => {
    const path = join(folder, "cut.safetensors");
    await writeSafetensors(path, { a: float32([100]) });
    const info = (await openSafetensors(path)).tensors.get("a")!;
    await truncate(path, info.offset + 40);
    await expect(readTensor(info)).rejects.toThrow(/360 bytes too early/);
  });

  test("a dtype that cannot be computed with opens, but does not read", async () => {
    const path = await craft({ a: entry(0, 4, [4], "F8_E4M3") }, 4);
    expect((await openSafetensors(path)).tensors.size).toBe(1);
    await expect(readSafetensors(path)).rejects.toThrow(CheckpointError);
  });
});

test("whatever bytes change, reading succeeds or says CheckpointError", async () => {
  const path = join(folder, "seed.safetensors");
  await writeSafetensors(path, TENSORS);
  const original = await readFile(path);
  const mutation = fc.record({
    edits: fc.array(fc.tuple(fc.nat(original.length - 1), fc.nat(255)), { maxLength: 6 }),
    length: fc.oneof({ weight: 4, arbitrary: fc.constant(original.length) }, { weight: 1, arbitrary: fc.nat(original.length + 9) }),
  });
  const target = join(folder, "mutated.safetensors");
  await fc.assert(
    fc.asyncProperty(mutation, async ({ edits, length }) => {
      const bytes = new Uint8Array(length);
      bytes.set(original.subarray(0, length));
      for (const [at, value] of edits) if (at < length) bytes[at] = value;
      await writeFile(target, bytes);
      try {
        for (const tensor of (await readSafetensors(target)).values()) expect(tensor.data).toBeDefined();
      } catch (error) {
        expect(error).toBeInstanceOf(CheckpointError);
      }
    }),
    { numRuns: 500, seed: 1 },
  );
});
