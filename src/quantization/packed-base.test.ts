/** @file Bases whose weights come in four bits (GPTQ, AWQ), beside the same weights in float. The goldens are by scripts/reference/packed.py. */

import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { golden } from "../../tests/golden.ts";
import { temporaryFolder } from "../../tests/temporary-folder.ts";
import { float32, type HostTensor, int64 } from "../base/tensor.ts";
import { openCheckpoint, saveCheckpoint } from "../checkpoint/checkpoint.ts";
import { blockOf } from "../checkpoint/packed-layout.ts";
import { unpacked } from "../checkpoint/packed-weights.ts";
import { readSafetensors, readTensor, writeSafetensors } from "../checkpoint/safetensors.ts";
import { generateBatch } from "../generation/generate.ts";
import { loadModel } from "../library/model.ts";
import { adapterLearner, freshLora } from "../training/learner.ts";
import { targetModules } from "../training/train.ts";
import { Trainer } from "../training/trainer.ts";

const FORMS = ["gptq", "gptq_v2", "awq"];
const { folder } = temporaryFolder();
const before = process.env.SKEIN_CACHE;
beforeAll(() => {
  process.env.SKEIN_CACHE = join(folder, "cache");
});
afterAll(() => {
  if (before === undefined) delete process.env.SKEIN_CACHE;
  else process.env.SKEIN_CACHE = before;
});
const floatsOf = (form: string) => readSafetensors(golden(`packed/dequantized/${form}.safetensors`));

/** The same model with its weights in float32. */
async function dequantized(form: string): Promise<string> {
  const { tensors, config, packed } = await openCheckpoint(golden(`packed/${form}`));
  const floats = new Map<string, HostTensor>(await floatsOf(form));
  for (const [name, info] of tensors) if (name.endsWith(".weight")) floats.set(name, await readTensor(info));
  expect(packed?.size).toBe(7);
  const { quantization_config: _, ...plain } = config;
  const target = join(folder, `${form}-float`);
  await saveCheckpoint(target, { config: plain, tensors: floats });
  return target;
}

test.each(FORMS)("%s: no number changes when it is read", async (form) => {
  const { packed } = await openCheckpoint(golden(`packed/${form}`));
  for (const [name, expected] of await floatsOf(form)) {
    const weight = packed!.get(name)!;
    const block = blockOf(weight)!;
    const { values, scales, zeros } = await unpacked(weight, block);
    const blocks = weight.in / block;
    const found = new Float32Array(expected.data.length);
    for (let at = 0; at < found.length; at++) {
      const [o, b] = [Math.floor(at / weight.in), Math.floor((at % weight.in) / block)];
      const nibble = (bytes: Uint8Array, index: number, odd: number) => (bytes[index]! >> (4 * odd)) & 15;
      const zero = nibble(zeros, o * Math.ceil(blocks / 2) + (b >> 1), b & 1);
      found[at] = scales[o * blocks + b]! * (nibble(values, at >> 1, at & 1) - zero);
    }
    expect(float32(expected.shape, found)).toEqual(expected);
  }
});

test.each(FORMS)("%s: the model computes as its float form, but for the activations in 8 bits, and learns a LoRA", async (form) => {
  await using model = await loadModel(golden(`packed/${form}`));
  await using float = await loadModel(await dequantized(form));
  expect(model.base.precision).toBe("int4");
  const inputIds = int64([2, 8], [5, 6, 7, 8, 9, 10, 11, 12, 90, 80, 70, 60, 50, 40, 30, 20]);
  const [own, expected] = [await model.forward({ inputIds }), await float.forward({ inputIds })];
  const largest = Math.max(...expected.logits.data.map(Math.abs));
  const furthest = Math.max(...own.logits.data.map((value, i) => Math.abs(value - expected.logits.data[i]!)));
  // Activations have 8 bits for each block: half a level of 254 at each of a few products.
  expect(furthest).toBeLessThan(0.03 * largest);
  const settings = { temperature: 0, maxNewTokens: 4, ignoreEos: true };
  const prompts = [[5, 6, 7]];
  const [answer, wanted] = [await generateBatch(model, prompts, settings), await generateBatch(float, prompts, settings)];
  expect(answer[0]!.ids).toEqual(wanted[0]!.ids);

  const losses = async ({ base }: typeof model) => {
    const lora = freshLora(base.modules, { targets: targetModules(base, undefined), rank: 4, scaling: 0.25, seed: 1 });
    await using trainer = await Trainer.create(base.architecture, adapterLearner(base, lora), { dropout: 0, seed: 1 });
    const mask = int64([2, 8], new BigInt64Array(16).fill(1n));
    const batch = { feeds: { input_ids: inputIds, attention_mask: mask, labels: inputIds }, sizes: { batch: 2, sequence: 8 } };
    const found: number[] = [];
    for (let step = 0; step < 6; step++) found.push((await trainer.step(step, 1e-2, [batch])).loss);
    return found;
  };
  const [learned, reference] = [await losses(model), await losses(float)];
  expect(learned.at(-1)).toBeLessThan(learned[0]!);
  learned.forEach((loss, i) => {
    expect(Math.abs(loss - reference[i]!)).toBeLessThan(0.03 * reference[i]!);
  });
});

test("embeddings and head take 8 bits with int4; int8 would only widen the weights", async () => {
  await using model = await loadModel(golden("packed/awq"), { precision: "int4" });
  expect((await model.forward({ inputIds: int64([1, 2], [5, 6]) })).logits.data.every(Number.isFinite)).toBe(true);
  await expect(loadModel(golden("packed/awq"), { precision: "int8" })).rejects.toMatchObject({ code: "option-conflict" });
});

async function changed(name: string, settings: object, change: (tensors: Map<string, HostTensor>) => void): Promise<string> {
  const target = join(folder, name);
  await cp(golden("packed/gptq"), target, { recursive: true });
  const config = JSON.parse(await readFile(join(target, "config.json"), "utf8"));
  await writeFile(
    join(target, "config.json"),
    JSON.stringify({ ...config, quantization_config: { ...config.quantization_config, ...settings } }),
  );
  const tensors = new Map<string, HostTensor>(await readSafetensors(join(target, "model.safetensors")));
  change(tensors);
  await writeSafetensors(join(target, "model.safetensors"), tensors);
  return target;
}

test("what blocks cannot hold exactly is refused by name", async () => {
  const shuffled = await changed("desc-act", { desc_act: true }, (tensors) => {
    const index = tensors.get("model.layers.0.mlp.down_proj.g_idx")!;
    (index.data as Int32Array).reverse();
  });
  await expect(openCheckpoint(shuffled)).rejects.toMatchObject({
    code: "checkpoint-quantized",
    message: expect.stringContaining("desc_act"),
  });
  const eight = await changed("eight", { bits: 8 }, () => {});
  await expect(openCheckpoint(eight)).rejects.toThrow(/quantized with GPTQ \(8 bits\)/);
});
