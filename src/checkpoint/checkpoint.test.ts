import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CheckpointError } from "../base/errors.ts";
import { bfloat16ToFloat32 } from "../base/half.ts";
import { float32, type HostTensor } from "../base/tensor.ts";
import { openCheckpoint, saveCheckpoint } from "./checkpoint.ts";
import { float32ToBfloat16 } from "./dtypes.ts";
import { readTensor, writeSafetensors } from "./safetensors.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-checkpoint-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const A = float32([2, 2], [1, 2, 3, 4]);
const B = float32([3], [5, 6, 7]);
const CONFIG = { model_type: "llama", hidden_size: 64 };

async function writeShards(weightMap: Record<string, string>, shards: Record<string, Record<string, HostTensor>>): Promise<void> {
  await writeFile(join(folder, "config.json"), JSON.stringify(CONFIG));
  await writeFile(join(folder, "model.safetensors.index.json"), JSON.stringify({ metadata: {}, weight_map: weightMap }));
  for (const [name, tensors] of Object.entries(shards)) await writeSafetensors(join(folder, name), tensors);
}

describe("saving", () => {
  test("a saved checkpoint opens with the same config and tensors, and the tokenizer came along", async () => {
    const source = join(folder, "source");
    await mkdir(source);
    await writeFile(join(source, "tokenizer.json"), "{}");
    await writeFile(join(source, "optimizer.pt"), "");
    const target = join(folder, "target");
    await saveCheckpoint(target, { config: CONFIG, generationConfig: { eos_token_id: 2 }, tensors: { a: A, b: B }, copyFrom: source });
    const checkpoint = await openCheckpoint(target);
    expect(checkpoint.config).toEqual(CONFIG);
    expect(checkpoint.generationConfig).toEqual({ eos_token_id: 2 });
    expect(await readTensor(checkpoint.tensors.get("a")!)).toEqual(A);
    expect((await readdir(target)).sort()).toEqual(["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"]);
  });

  test("a checkpoint can be saved over itself", async () => {
    await saveCheckpoint(folder, { config: CONFIG, tensors: { a: A } });
    await writeFile(join(folder, "tokenizer.json"), "{}");
    await saveCheckpoint(folder, { config: CONFIG, tensors: { b: B }, copyFrom: folder });
    expect([...(await openCheckpoint(folder)).tensors.keys()]).toEqual(["b"]);
    expect(await readFile(join(folder, "tokenizer.json"), "utf8")).toBe("{}");
  });
});

test("shards are one checkpoint", async () => {
  await writeShards({ a: "m-1.safetensors", b: "m-2.safetensors" }, { "m-1.safetensors": { a: A }, "m-2.safetensors": { b: B } });
  const { tensors } = await openCheckpoint(folder);
  expect(await readTensor(tensors.get("a")!)).toEqual(A);
  expect(await readTensor(tensors.get("b")!)).toEqual(B);
});

describe("refused with a reason", () => {
  const cases: [string, RegExp, () => Promise<unknown>][] = [
    ["a missing folder", /Cannot open the checkpoint's folder/, () => rm(folder, { recursive: true })],
    ["no config.json", /No config.json/, () => writeSafetensors(join(folder, "model.safetensors"), { a: A })],
    ["an adapter", /This is an adapter/, () => writeFile(join(folder, "adapter_config.json"), "{}")],
    [
      "a broken config.json",
      /Not valid JSON/,
      () => saveCheckpoint(folder, { config: CONFIG, tensors: {} }).then(() => writeFile(join(folder, "config.json"), "{")),
    ],
    [
      "a config.json that is a list",
      /Expected a JSON object/,
      () => saveCheckpoint(folder, { config: CONFIG, tensors: {} }).then(() => writeFile(join(folder, "config.json"), "[]")),
    ],
    [
      "pickle",
      /pickled \(pytorch_model.bin\)[\s\S]*Convert it first/,
      () => writeFile(join(folder, "config.json"), "{}").then(() => writeFile(join(folder, "pytorch_model.bin"), "")),
    ],
    [
      "a tensor file of another name",
      /found weights.safetensors[\s\S]*rename it to model.safetensors/,
      () => writeFile(join(folder, "config.json"), "{}").then(() => writeSafetensors(join(folder, "weights.safetensors"), { a: A })),
    ],
    ["a missing shard", /no such file/, () => writeShards({ a: "m-1.safetensors" }, {})],
    [
      "a tensor in another shard than the index says",
      /places in m-2/,
      () => writeShards({ a: "m-2.safetensors", b: "m-1.safetensors" }, { "m-1.safetensors": { a: A, b: B }, "m-2.safetensors": {} }),
    ],
    [
      "a tensor the index does not name",
      /does not name/,
      () => writeShards({ a: "m-1.safetensors" }, { "m-1.safetensors": { a: A, b: B } }),
    ],
    [
      "a tensor the shard does not hold",
      /tensor b in m-1.safetensors, which does not hold it/,
      () => writeShards({ a: "m-1.safetensors", b: "m-1.safetensors" }, { "m-1.safetensors": { a: A } }),
    ],
    ["a shard outside the folder", /in the same folder/, () => writeShards({ a: "../m-1.safetensors" }, {})],
    [
      "a malformed index",
      /malformed/,
      () => writeFile(join(folder, "config.json"), "{}").then(() => writeFile(join(folder, "model.safetensors.index.json"), "{}")),
    ],
  ];
  test.each(cases)("%s", async (_, reason, make) => {
    await make();
    const opening = openCheckpoint(folder);
    await expect(opening).rejects.toThrow(CheckpointError);
    await expect(opening).rejects.toThrow(reason);
  });
});

const SHARED = new URL("../../../shared/", import.meta.url).pathname;

describe.skipIf(!existsSync(SHARED))("real checkpoints (skipped: the shared test material is not on this machine)", () => {
  test("float32, bfloat16 and sharded copies of one model hold the same tensors", async () => {
    const whole = await openCheckpoint(`${SHARED}models/tinystories-260k-llama`);
    const sharded = await openCheckpoint(`${SHARED}models/tinystories-260k-variants/sharded`);
    const bf16 = await openCheckpoint(`${SHARED}models/tinystories-260k-variants/bf16`);
    expect(whole.tensors.size).toBeGreaterThan(40);
    expect([...sharded.tensors.keys()].sort()).toEqual([...whole.tensors.keys()].sort());
    for (const [name, info] of whole.tensors) {
      const tensor = await readTensor(info);
      expect(await readTensor(sharded.tensors.get(name)!)).toEqual(tensor);
      const rounded = bfloat16ToFloat32(float32ToBfloat16(tensor.data as Float32Array));
      expect(await readTensor(bf16.tensors.get(name)!)).toEqual({ ...tensor, data: rounded });
    }
  });

  test("a checkpoint with pickled tensors only is refused", async () => {
    await expect(openCheckpoint(`${SHARED}models/tinystories-260k-variants/pytorch_bin`)).rejects.toThrow(/pickle/);
  });
});
