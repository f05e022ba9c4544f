import { describe, expect, test } from "vitest";
import { expectClose, golden, goldenTensors } from "../../tests/golden.ts";
import { differentiated, type Forward, packedForward, shiftedLabels } from "../../tests/gradients.ts";
import type { LoraAdapter } from "../adapters/adapter.ts";
import { loraNames } from "../adapters/lora.ts";
import { loadAdapter } from "../adapters/peft.ts";
import { float32, type HostTensor, int64 } from "../base/tensor.ts";
import { add, cast, lessOrEqual, where } from "../graph/ops/elementwise.ts";
import { matmul } from "../graph/ops/linalg.ts";
import { unsqueeze } from "../graph/ops/movement.ts";
import { softmax } from "../graph/ops/reduce.ts";
import { loadModel, type Model } from "../inference/model.ts";
import { singleAdapter } from "../inference/overlay.ts";
import { type Attention, joinHeads, noDropout } from "../models/attention.ts";
import { slots } from "../models/logits.ts";
import { adamwStep } from "./adamw.ts";
import type { TrainingBatch } from "./batches.ts";
import { adapterLearner, type Learner } from "./learner.ts";
import { Trainer } from "./trainer.ts";

const LR = 5e-3;

/** The goldens' batch: a row without padding, padded on the right, on the left, and on both sides. In the last row the
 *  reference also learns to predict the first real token, from the padding before it, so padding gets the reference's
 *  positions (Qwen's are the slots); nothing but this one label depends on them. */
async function goldenBatch(name: string): Promise<TrainingBatch> {
  const { int } = await goldenTensors(`${name}/golden.safetensors`);
  const [mask, labels] = [int("attention_mask"), shiftedLabels(int("labels"))];
  const counted = int64(
    mask.shape,
    mask.data.map((_, i) => BigInt(i % 24)),
  );
  const feeds = {
    input_ids: int("input_ids"),
    attention_mask: mask,
    labels,
    position_ids: name === "qwen" ? counted : int("position_ids"),
    document_ids: int64(mask.shape),
  };
  return { feeds, sizes: { batch: 4, sequence: 24 } };
}

/** GPT-2's and Qwen's code of the time overwrite the scores of later keys, then add to those of padding: a query that is
 *  padding itself attends to all keys alike but for the padding after it. Real tokens see what they see everywhere. */
const LOWEST = -3.4028234663852886e38;
const withOverwrittenScores: Forward = (graph, architecture, { weights, linear }) => {
  if (architecture.kind !== "decoder-only") throw new Error("a decoder-only model is expected");
  const mask = graph.int("attention_mask", "batch", "sequence");
  const { positions: slot } = slots(graph, "sequence");
  const attention: Attention = (q, k, v, { scale }) => {
    const scores = where(lessOrEqual(unsqueeze(slot, 1, 2), unsqueeze(slot, 1, 3)), matmul(q, k, { transB: true, alpha: scale }), LOWEST);
    return joinHeads(matmul(softmax(add(scores, where(cast(unsqueeze(mask, 1, 2), "bool"), 0, LOWEST))), v));
  };
  const parts = { weights, linear, attention, dropout: noDropout };
  const positions = graph.int("position_ids", "batch", "sequence");
  return architecture.head(architecture.decode(graph.int("input_ids", "batch", "sequence"), positions, parts), parts);
};

const FORWARDS = {
  llama: packedForward,
  llama_bias: packedForward,
  qwen2: packedForward,
  phi3: packedForward,
  gpt2: withOverwrittenScores,
  qwen: withOverwrittenScores,
};

async function lora(model: Model, folder: string): Promise<LoraAdapter> {
  const adapter = await loadAdapter(golden(folder), model.modules);
  if (adapter.kind !== "lora") throw new Error("not a LoRA");
  return adapter;
}

describe.each(Object.entries(FORWARDS))("%s", (name, forward) => {
  test("with a LoRA, logits and all its gradients equal PEFT's", async () => {
    await using model = await loadModel(golden(`${name}/model`));
    const expected = await goldenTensors(`${name}/lora.safetensors`);
    const batch = await goldenBatch(name);
    const { input_ids: inputIds, attention_mask: attentionMask } = batch.feeds as Record<string, HostTensor<"int64">>;
    const adapter = await lora(model, `${name}/adapter_init`);
    model.overlay = singleAdapter(adapter, model.modules);
    const { logits } = await model.forward({ inputIds: inputIds!, attentionMask: attentionMask! });
    expectClose(logits, expected.float("logits"), 1e-4, attentionMask!);
    const found = await differentiated(model, adapterLearner(model.checkpoint, model.modules, adapter), batch, forward);
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
    const { losses, parameters } = await fiveSteps(model, learner, await goldenBatch(name), forward);
    expected.float("losses").data.forEach((loss, i) => {
      expect(losses[i]).toBeCloseTo(loss, 4);
    });
    for (const [module, { a, b }] of (await lora(model, `${name}/adapter_step5`)).modules) {
      // AdamW divides by sqrt(v): tiny gradients amplify rounding. 1e-4 is three times what float32 and float64 differ by.
      const names = loraNames(module);
      expectClose(parameters.get(names.a)!, a, 1e-4);
      expectClose(parameters.get(names.b)!, b, 1e-4);
    }
  });
});

/** The losses before each step and after the last, and where the parameters end. */
async function fiveSteps(model: Model, learner: Learner, batch: TrainingBatch, forward: Forward) {
  const losses: number[] = [];
  if (forward === packedForward) {
    await using trainer = await Trainer.create(model.architecture, learner, {
      dropout: 0,
      clip: Number.POSITIVE_INFINITY,
      seed: 1,
      packed: true,
    });
    for (let step = 0; step < 5; step++) losses.push((await trainer.step(step, LR, [batch])).loss);
    losses.push(await trainer.score([batch]));
    return { losses, parameters: trainer.parameters };
  }
  // The trainer's graph has our masks; with the reference's, its optimiser is driven by hand.
  const state = new Map(
    [...learner.initial].map(([name, { shape, data }]) => [
      name,
      { shape, value: data.slice(), m: new Float32Array(data.length), v: new Float32Array(data.length) },
    ]),
  );
  const parameters = new Map([...state].map(([name, { shape, value }]) => [name, float32(shape, value)]));
  for (let step = 0; step <= 5; step++) {
    const { loss, gradients } = await differentiated(model, { ...learner, initial: parameters }, batch, forward);
    losses.push(loss);
    if (step < 5) for (const [name, moments] of state) adamwStep(moments, gradients.get(name)!.data, LR, step + 1);
  }
  return { losses, parameters };
}
