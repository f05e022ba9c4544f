import { expect, test } from "vitest";
import { golden, goldenTensors, maxDifference } from "../../tests/golden.ts";
import type { HostTensor } from "../base/tensor.ts";
import { float32, int64 } from "../base/tensor.ts";
import { loadModel, type Model } from "../inference/model.ts";
import { Decoder } from "./decoder.ts";

// Two float32 computations of the same sums in another order; logits are of size 10.
const TOLERANCE = 1e-4;

/** The real tokens of each row. */
function rowsOf(ids: HostTensor<"int64">, mask: HostTensor<"int64">): number[][] {
  const [rows = 0, width = 0] = ids.shape;
  return Array.from({ length: rows }, (_, row) =>
    [...ids.data.subarray(row * width, (row + 1) * width)].map(Number).filter((_, i) => mask.data[row * width + i] === 1n),
  );
}
const rowOf = ({ shape, data }: HostTensor<"float32">, row: number) =>
  float32([shape.at(-1)!], data.subarray(row * shape.at(-1)!, (row + 1) * shape.at(-1)!));

test("t5: every step's logits equal the full forward's, for prompts of unequal length", async () => {
  const expected = await goldenTensors("t5/golden.safetensors");
  await using model = await loadModel(golden("t5/model"));
  const prompts = rowsOf(expected.int("input_ids"), expected.int("attention_mask"));
  const decoderIds = expected.int("decoder_input_ids");
  const logits = expected.float("logits");
  const targets = decoderIds.shape[1]!;
  const decoder = new Decoder(model);
  let step = await decoder.start(prompts);
  for (let t = 0; ; t++) {
    for (let row = 0; row < prompts.length; row++) {
      expect(maxDifference(rowOf(step.logits, row), rowOf(logits, row * targets + t))).toBeLessThan(TOLERANCE);
    }
    if (t + 1 === targets) break;
    step = await decoder.append(prompts.map((_, row) => [Number(decoderIds.data[row * targets + t + 1])]));
  }
});
