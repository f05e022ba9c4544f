import { expect, test } from "vitest";
import { golden } from "../../tests/golden.ts";
import { ShapeError } from "../base/errors.ts";
import { float32, int64 } from "../base/tensor.ts";
import { loadModel } from "../library/model.ts";
import type { Batch } from "./batch.ts";

const model = await loadModel(golden("t5/model"));
const [ids, decoderInputIds] = [int64([1, 2], [3, 1]), int64([1, 1], [0])];

test.each<[string, unknown, RegExp]>([
  ["of another dtype", { inputIds: float32([1, 2]), decoderInputIds }, /expected int64, got float32/],
  ["without a batch axis", { inputIds: int64([2], [3, 1]), decoderInputIds }, /expected a shape \[batch, sequence\]/],
  ["without rows", { inputIds: int64([0, 2]), decoderInputIds: int64([0, 1]) }, /without zeros, got \[0, 2\]/],
  [
    "with less data than its shape",
    { inputIds: { ...ids, data: new BigInt64Array(1) }, decoderInputIds },
    /shape \[1, 2\] does not match its 1 numbers/,
  ],
  ["with a mask of weights", { inputIds: ids, attentionMask: int64([1, 2], [2, 5]), decoderInputIds }, /attention_mask holds 2/],
  ["of two sizes", { inputIds: ids, decoderInputIds: int64([2, 1]) }, /decoder_input_ids has 2 rows, input_ids has 1/],
])("a batch %s is refused", async (_, batch, message) => {
  const refusal = model.forward(batch as Batch);
  await expect(refusal).rejects.toBeInstanceOf(ShapeError);
  await expect(refusal).rejects.toThrow(message);
});

test("a row of more tokens than the model has positions is refused; padding does not count", async () => {
  await using gpt2 = await loadModel(golden("gpt2/model"));
  const long = int64([1, 140], Array<number>(140).fill(3));
  await expect(gpt2.forward({ inputIds: long })).rejects.toThrow("Row 0 has 140 tokens; the model has 128 positions.");
  const attentionMask = int64(
    [1, 140],
    Array.from({ length: 140 }, (_, i) => Number(i >= 12)),
  );
  expect((await gpt2.forward({ inputIds: long, attentionMask })).logits.shape).toEqual([1, 140, 160]);
});
