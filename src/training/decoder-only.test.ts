import { describe, expect, test } from "vitest";
import { expectClose, golden, goldenTensors } from "../../tests/golden.ts";
import { differentiated, shiftedLabels } from "../../tests/gradients.ts";
import type { LoraAdapter } from "../adapters/adapter.ts";
import { loraNames } from "../adapters/lora.ts";
import { loadAdapter } from "../adapters/peft.ts";
import type { HostTensor } from "../base/tensor.ts";
import { loadModel, type Model } from "../inference/model.ts";
import { singleAdapter } from "../inference/overlay.ts";
import type { TrainingBatch } from "./batches.ts";
import { adapterLearner } from "./learner.ts";
import { Trainer } from "./trainer.ts";

const LR = 5e-3;

/** The goldens' batch: a row without padding, padded on the right, on the left, and on both sides. In the last row the
 *  reference also learns to predict the first real token, from the padding before it: what padding sees counts too. */
async function goldenBatch(name: string): Promise<TrainingBatch> {
  const { int } = await goldenTensors(`${name}/golden.safetensors`);
  const feeds = { input_ids: int("input_ids"), attention_mask: int("attention_mask"), labels: shiftedLabels(int("labels")) };
  return { feeds, sizes: { batch: 4, sequence: 24 } };
}

async function lora(model: Model, folder: string): Promise<LoraAdapter> {
  const adapter = await loadAdapter(golden(folder), model.modules);
  if (adapter.kind !== "lora") throw new Error("not a LoRA");
  return adapter;
}

describe.each(["llama", "llama_bias", "qwen2", "phi3", "gpt2", "qwen"])("%s", (name) => {
  test("with a LoRA, logits and all its gradients equal PEFT's", async () => {
    await using model = await loadModel(golden(`${name}/model`));
    const expected = await goldenTensors(`${name}/lora.safetensors`);
    const batch = await goldenBatch(name);
    const { input_ids: inputIds, attention_mask: attentionMask } = batch.feeds as Record<string, HostTensor<"int64">>;
    const adapter = await lora(model, `${name}/adapter_init`);
    model.overlay = singleAdapter(adapter, model.modules);
    const { logits } = await model.forward({ inputIds: inputIds!, attentionMask: attentionMask! });
    expectClose(logits, expected.float("logits"), 1e-4, attentionMask!);
    const found = await differentiated(model, adapterLearner(model.checkpoint, model.modules, adapter), batch);
    expect(found.loss).toBeCloseTo(expected.float("losses").data[0]!, 5);
    expect(found.gradients.size).toBe(expected.names.filter((tensor) => tensor.startsWith("grad.")).length);
    for (const module of adapter.modules.keys()) {
      const names = loraNames(module);
      expectClose(found.gradients.get(names.a)!, expected.get(`grad.base_model.model.${module}.lora_A.weight`), 1e-4);
      expectClose(found.gradients.get(names.b)!, expected.get(`grad.base_model.model.${module}.lora_B.weight`), 1e-4);
    }
  });

  test("five AdamW steps end where PEFT's do", async () => {
    await using model = await loadModel(golden(`${name}/model`));
    const expected = await goldenTensors(`${name}/lora.safetensors`);
    const learner = adapterLearner(model.checkpoint, model.modules, await lora(model, `${name}/adapter_init`));
    const batch = await goldenBatch(name);
    await using trainer = await Trainer.create(model.architecture, learner, { dropout: 0, clip: Number.POSITIVE_INFINITY, seed: 1 });
    const losses: number[] = [];
    for (let step = 0; step < 5; step++) losses.push((await trainer.step(step, LR, [batch])).loss);
    losses.push(await trainer.score([batch]));
    expected.float("losses").data.forEach((loss, i) => {
      expect(losses[i]).toBeCloseTo(loss, 4);
    });
    for (const [module, { a, b }] of (await lora(model, `${name}/adapter_step5`)).modules) {
      // AdamW divides by sqrt(v): tiny gradients amplify rounding. 1e-4 is three times what float32 and float64 differ by.
      const names = loraNames(module);
      expectClose(trainer.parameters.get(names.a)!, a, 1e-4);
      expectClose(trainer.parameters.get(names.b)!, b, 1e-4);
    }
  });
});
