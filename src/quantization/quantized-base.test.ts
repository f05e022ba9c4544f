/** @file Compares the demo's quantized base with the float32 one: answers, rows of a batch, files on disk, training. */

import { readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { int64, padded } from "../base/tensor.ts";
import { DEMO_BASE } from "../demo/evaluation-task.ts";
import { loadModel } from "../library/model.ts";
import { adapterLearner, freshLora } from "../training/learner.ts";
import { targetModules } from "../training/train.ts";
import { Trainer } from "../training/trainer.ts";
import { clearKeptWeights, keptWeights } from "./store.ts";

const cache = join(tmpdir(), `skein-quantized-${process.pid}`);
const before = process.env.SKEIN_CACHE;
beforeAll(() => {
  process.env.SKEIN_CACHE = cache;
});
afterAll(async () => {
  if (before === undefined) delete process.env.SKEIN_CACHE;
  else process.env.SKEIN_CACHE = before;
  await rm(cache, { recursive: true, force: true });
});

const PROMPTS = ["opposite : 1. hot 2. big", "young : 1. dog", "capital : 1. france 2. italy 3. spain"];

test.each(["int8", "int4"] as const)("%s gives the answers of float32 on tasks that the base masters", async (precision) => {
  const progress: number[] = [];
  await using model = await loadModel(DEMO_BASE, { precision, onProgress: (done, total) => progress.push(done / total) });
  expect(model.base.precision).toBe(precision);
  expect(progress.at(-1)).toBe(1);
  const answers: string[] = [];
  for (const prompt of PROMPTS) {
    for await (const event of model.generate(prompt, { maxNewTokens: 12, temperature: 0 })) {
      if (event.kind === "completion") answers.push(event.text.trim());
    }
  }
  expect(answers).toEqual(["1. cold 2. small", "1. puppy", "1. paris 2. rome 3. madrid"]);
  await using again = await loadModel(DEMO_BASE, { precision, onProgress: () => expect.unreachable("the weights are kept on disk") });
  expect(await again.base.fingerprint()).toBe(await model.base.fingerprint());
});

test.each(["int8", "int4"] as const)("%s: neighbors in a batch and padding change no row", async (precision) => {
  await using model = await loadModel(DEMO_BASE, { precision });
  const tokenizer = await model.base.tokenizer();
  const rows = PROMPTS.map((prompt) => tokenizer.encode(prompt));
  const { ids, mask } = padded(rows);
  const together = await model.forward({ inputIds: ids, attentionMask: mask, decoderInputIds: int64([3, 2], [0, 5, 0, 6, 0, 7]) });
  const width = model.base.architecture.vocabularySize * 2;
  for (const [i, row] of rows.entries()) {
    const alone = await model.forward({ inputIds: int64([1, row.length], row), decoderInputIds: int64([1, 2], [0, 5 + i]) });
    const own = together.logits.data.subarray(i * width, (i + 1) * width);
    const furthest = Math.max(...own.map((value, j) => Math.abs(value - alone.logits.data[j]!)));
    // Sums in another order may move a rounding of an activation by one level of 254.
    expect(furthest).toBeLessThan(0.05);
  }
});

test.each(["int8", "int4"] as const)("a LoRA learns on a base in %s much as on one in float32", async (precision) => {
  const losses = async (own: "float32" | "int8" | "int4") => {
    await using model = await loadModel(DEMO_BASE, { precision: own });
    const tokenizer = await model.base.tokenizer();
    const adapter = freshLora(model.base.modules, { targets: targetModules(model.base, undefined), rank: 4, scaling: 0.25, seed: 1 });
    const trainer = await Trainer.create(model.base.architecture, adapterLearner(model.base, adapter), { dropout: 0, seed: 1 });
    const [input, answer] = [tokenizer.encode("give the contrary of 1. hot"), tokenizer.encode("1. dog")];
    const feeds = {
      input_ids: int64([1, input.length], input),
      attention_mask: int64(
        [1, input.length],
        input.map(() => 1),
      ),
      decoder_input_ids: int64([1, answer.length], [0, ...answer.slice(0, -1)]),
      labels: int64([1, answer.length], answer),
    };
    const batch = { feeds, sizes: { batch: 1, sequence: input.length, targets: answer.length } };
    const found: number[] = [];
    for (let step = 0; step < 12; step++) found.push((await trainer.step(step, 5e-3, [batch])).loss);
    await trainer.dispose();
    return found;
  };
  const [float, fewer] = [await losses("float32"), await losses(precision)];
  expect(Math.abs(fewer[0]! - float[0]!)).toBeLessThan(0.1 * float[0]!);
  expect(fewer.at(-1)).toBeLessThan(0.5 * fewer[0]!);
  expect(Math.abs(fewer.at(-1)! - float.at(-1)!)).toBeLessThan(0.25 * float[0]!);
});

test("what is kept on disk is listed, cleared, and made again when it is incomplete or damaged", async () => {
  await clearKeptWeights();
  await using _ = await loadModel(DEMO_BASE, { precision: "int8" });
  const [kept, ...others] = await keptWeights();
  expect(others).toEqual([]);
  expect(kept).toMatchObject({ scheme: "int8" });
  expect(kept!.bytes).toBeGreaterThan(900_000);
  await rm(join(kept!.folder, "quantized.json"));
  expect((await keptWeights())[0]).toMatchObject({ scheme: "unfinished" });
  await using __ = await loadModel(DEMO_BASE, { precision: "int8" });
  await writeFile(join(kept!.folder, "values.safetensors"), "broken");
  await using ___ = await loadModel(DEMO_BASE, { precision: "int8" });
  expect((await keptWeights())[0]!.bytes).toBe(kept!.bytes);
  await clearKeptWeights();
  expect(await readdir(join(cache, "quantized"))).toEqual([]);
});
