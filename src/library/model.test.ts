import { expect, test } from "vitest";
import { int64 } from "../base/tensor.ts";
import { DEMO_BASE } from "../demo/evaluation-task.ts";
import { loadModel } from "../index.ts";

test("a loaded model generates, scores and computes with its own tokenizer", async () => {
  await using model = await loadModel(DEMO_BASE);
  const prompt = "opposite : 1. hot 2. big";
  let answer = "";
  for await (const event of model.generate(prompt, { maxNewTokens: 8 })) if (event.kind === "completion") answer = event.text;
  expect(answer.trim()).toBe("1. cold 2. small");
  const [right, wrong] = await model.score([
    { context: prompt, continuation: "1. cold 2. small" },
    { context: prompt, continuation: "1. small 2. cold" },
  ]);
  expect(right!.sum).toBeGreaterThan(wrong!.sum);
  const ids = (await model.tokenizer()).encode(prompt);
  const batch = { inputIds: int64([1, ids.length], ids), decoderInputIds: int64([1, 1]) };
  expect((await model.forward(batch)).logits.shape).toEqual([1, 1, model.base.architecture.vocabularySize]);
  expect((await model.route(batch)).size).toBe(0);
});
