/** @file The demo's base, whose files are in F16, with its weights in float16: the numbers of float32. */

import { expect, test } from "vitest";
import { ENGINES_HERE } from "../../tests/engines.ts";
import { expectClose, golden } from "../../tests/golden.ts";
import { int64 } from "../base/tensor.ts";
import { DEMO_BASE } from "../demo/evaluation-task.ts";
import { generateBatch } from "../generation/generate.ts";
import { type LoadedModel, loadModel } from "../library/model.ts";
import type { Engine } from "../runtime/engine.ts";
import { cpu } from "../runtime/onnxruntime-node.ts";
import { trainExpert } from "../training/train.ts";

const WITH_FLOAT16: Engine[] = [];
for (const engine of ENGINES_HERE) if (await engine.hasFloat16()) WITH_FLOAT16.push(engine);

// Widening is exact, so only the order of sums differs, over eight layers; logits reach 50.
const TOLERANCE = { cpu: 1e-3, others: 2e-3 };
const BATCH = { inputIds: int64([2, 3], [17, 42, 1, 5, 203, 1]), decoderInputIds: int64([2, 2], [0, 23, 0, 9]) };
const PROMPTS = ["opposite : 1. hot 2. big", "young : 1. dog"];

/** The answers, and the weights of a LoRA after a few steps. */
async function results(model: LoadedModel) {
  const tokenizer = await model.tokenizer();
  const completions = await generateBatch(
    model,
    PROMPTS.map((prompt) => tokenizer.encode(prompt)),
    { temperature: 0, maxNewTokens: 8 },
  );
  const losses: number[] = [];
  const hooks = { onProgress: ({ loss }: { loss: number }) => void losses.push(loss) };
  const training = [{ kind: "pair", input: PROMPTS[0]!, target: "1. small" } as const];
  await trainExpert({ model, tokenizer, training, hooks, options: { steps: 3, batchSize: 1, rank: 2, dropout: 0, seed: 1 } });
  return { ids: completions.map(({ ids }) => ids), losses };
}

test.each(WITH_FLOAT16)("on $name logits, answers and losses are those of float32", async (engine) => {
  await using half = await loadModel(DEMO_BASE, { engine, precision: "float16" });
  await using float = await loadModel(DEMO_BASE, { engine: cpu });
  expect(half.base.precision).toBe("float16");
  const tolerance = engine === cpu ? TOLERANCE.cpu : TOLERANCE.others;
  expectClose((await half.forward(BATCH)).logits, (await float.forward(BATCH)).logits, tolerance);
  const [got, expected] = [await results(half), await results(float)];
  expect(got.ids).toEqual(expected.ids);
  for (const [i, loss] of expected.losses.entries()) expect(Math.abs(got.losses[i]! - loss)).toBeLessThan(tolerance);
});

test("weights that are not in F16, and devices without float16, are refused", async () => {
  const refused = loadModel(golden("llama/model"), { engine: cpu, precision: "float16" });
  await expect(refused).rejects.toMatchObject({ code: "option-conflict", what: /weights are in F32/ });
  const without = { ...cpu, name: "gpu", hasFloat16: async () => false };
  const missing = loadModel(DEMO_BASE, { engine: without, precision: "float16" });
  await expect(missing).rejects.toMatchObject({ code: "option-conflict", what: /does not compute with float16/ });
});
