/** @file Every decoder-only architecture with golden numbers, against transformers' (tests/golden). */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { greedy, hiddenStates } from "../../tests/decoders.ts";
import { expectClose, golden, goldenTensors, shared } from "../../tests/golden.ts";
import { int64 } from "../base/tensor.ts";
import { loadModel } from "../library/model.ts";

// float32 noise of the references is below 4e-5 (their README); 1e-4 absolute is the bound it gives for logits.
const TOLERANCE = 1e-4;

const LAYERS: Readonly<Record<string, (i: number) => string>> = {
  llama: (i) => `model.layers.${i}`,
  llama_bias: (i) => `model.layers.${i}`,
  llama_linear: (i) => `model.layers.${i}`,
  qwen2: (i) => `model.layers.${i}`,
  phi3: (i) => `model.layers.${i}`,
  gpt2: (i) => `transformer.h.${i}`,
  qwen: (i) => `transformer.h.${i}`,
};

describe.each(Object.keys(LAYERS))("%s", (name) => {
  test("logits equal transformers' at real tokens, whatever side is padded", async () => {
    const expected = await goldenTensors(`${name}/golden.safetensors`);
    await using model = await loadModel(golden(`${name}/model`));
    const mask = expected.int("attention_mask");
    const { logits } = await model.forward({ inputIds: expected.int("input_ids"), attentionMask: mask });
    expectClose(logits, expected.float("logits"), TOLERANCE, mask);
  });

  test("logits without a mask equal transformers'", async () => {
    const expected = await goldenTensors(`${name}/golden.safetensors`);
    await using model = await loadModel(golden(`${name}/model`));
    const ids = expected.int("input_ids");
    const row = (length: number) => model.forward({ inputIds: int64([1, length], ids.data.slice(0, length)) });
    expectClose((await row(24)).logits, expected.float("logits_row0_nomask"), TOLERANCE);
    const first = "logits_row0_first12_nomask";
    if (expected.has(first)) expectClose((await row(12)).logits, expected.float(first), TOLERANCE);
  });

  test("hidden states equal transformers' layer by layer", async () => {
    const expected = await goldenTensors(`${name}/golden.safetensors`);
    await using model = await loadModel(golden(`${name}/model`));
    const mask = expected.int("attention_mask");
    const states = await hiddenStates(model, { inputIds: expected.int("input_ids"), attentionMask: mask });
    for (const [ours, theirs] of [
      ["embeddings", "embeds_into_layer0"],
      [LAYERS[name]!(0), "layer_out_00"],
      [LAYERS[name]!(1), "layer_out_01"],
      ["decoded", "final_normed"],
    ] as const) {
      expectClose(states[ours]!, expected.float(theirs), TOLERANCE, mask);
    }
  });

  test("greedy tokens equal transformers'", async () => {
    const expected = await goldenTensors(`${name}/golden.safetensors`);
    await using model = await loadModel(golden(`${name}/model`));
    const tokens = await greedy(model, expected.int("gen_input_ids"), expected.int("gen_attention_mask"), 20);
    expect(tokens).toEqual(rowsOf(expected.int("gen_new_tokens")));
  });
});

test.each(["llama", "qwen2", "phi3"])("%s: padding is where transformers has it, on either side", async (name) => {
  const expected = await goldenTensors(`${name}/golden.safetensors`);
  await using model = await loadModel(golden(`${name}/model`));
  const { logits } = await model.forward({ inputIds: expected.int("input_ids"), attentionMask: expected.int("attention_mask") });
  expectClose(logits, expected.float("logits"), TOLERANCE); // every slot, since SMEAR's mean reads padding too
});

const stories = shared("models/tinystories-260k-llama");
test.skipIf(!stories)("a real Llama tells its stories (skipped when the model is not beside the checkout)", async () => {
  interface Generation {
    readonly prompt_ids: readonly number[];
    readonly greedy_ids: readonly number[];
  }
  const expected: { generations: readonly Generation[] } = JSON.parse(readFileSync(join(stories!, "expected.json"), "utf8"));
  await using model = await loadModel(stories!);
  for (const { prompt_ids, greedy_ids } of expected.generations) {
    const prompt = int64([1, prompt_ids.length], prompt_ids);
    const count = Math.min(greedy_ids.length, 60);
    const mask = int64(prompt.shape, new BigInt64Array(prompt_ids.length).fill(1n));
    expect(await greedy(model, prompt, mask, count)).toEqual([greedy_ids.slice(0, count)]);
  }
});

function rowsOf({ shape, data }: { shape: readonly number[]; data: BigInt64Array }): number[][] {
  const [rows, columns] = shape as [number, number];
  return Array.from({ length: rows }, (_, row) => Array.from(data.subarray(row * columns, (row + 1) * columns), Number));
}
