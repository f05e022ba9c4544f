/** @file Architectures and forms of rope scaling against transformers' own model files, on small random checkpoints
 *  (tests/golden/decoders, made by scripts/reference/decoders.py). */

import { readdirSync } from "node:fs";
import { expect, test } from "vitest";
import { expectClose, golden, goldenTensors, maxDifference } from "../../tests/golden.ts";
import { int64 } from "../base/tensor.ts";
import { loadModel } from "../library/model.ts";

// float32 on both sides; logits are of size 1 to 20.
const TOLERANCE = 1e-4;

test.each(readdirSync(golden("decoders")))("%s: logits equal transformers', padded and alone", async (name) => {
  const expected = await goldenTensors(`decoders/${name}/golden.safetensors`);
  await using model = await loadModel(golden(`decoders/${name}`));
  const [ids, mask] = [expected.int("input_ids"), expected.int("attention_mask")];
  expectClose((await model.forward({ inputIds: ids, attentionMask: mask })).logits, expected.float("logits"), TOLERANCE, mask);
  const first = await model.forward({ inputIds: int64([1, 12], ids.data.slice(0, 12)) });
  expectClose(first.logits, expected.float("logits_first12"), TOLERANCE);
});

// Both cases are compared with the reference above; this checks that their goldens differ.
test.each(["llama_dynamic", "phi3_longrope"])(
  "%s: a text past the trained length turns even its first tokens differently",
  async (name) => {
    const { float } = await goldenTensors(`decoders/${name}/golden.safetensors`);
    const [all, first] = [float("logits"), float("logits_first12")];
    const start = { ...all, shape: first.shape, data: all.data.slice(0, first.data.length) };
    expect(maxDifference(start, first)).toBeGreaterThan(0.01);
  },
);
