import { existsSync, readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { expectClose, golden, goldenTensors } from "../../tests/golden.ts";
import { differentiated, shiftedLabels } from "../../tests/gradients.ts";
import type { LoraAdapter } from "../adapters/adapter.ts";
import { loraNames } from "../adapters/lora.ts";
import type { HostTensor } from "../base/tensor.ts";
import type { Model } from "../inference/model.ts";
import { singleAdapter } from "../inference/woven.ts";
import { loadModel } from "../library/model.ts";
import { loadAdapter } from "../storage/peft.ts";
import type { TrainingBatch } from "./batches.ts";
import { adapterLearner } from "./learner.ts";
import { Trainer } from "./trainer.ts";

const LR = 5e-3;

/** The golden files of one base: PEFT's own, and those of scripts/reference/lora.py. */
interface Files {
  readonly model: string;
  readonly golden: string;
  readonly lora: string;
  readonly adapter: string;
  /** The adapter's tensors after five steps, and the prefix of their names. */
  readonly after: readonly [file: string, prefix: string];
}
const byPeft = (name: string): Files => ({
  model: `${name}/model`,
  golden: `${name}/golden.safetensors`,
  lora: `${name}/lora.safetensors`,
  adapter: `${name}/adapter_init`,
  after: [`${name}/adapter_step5/adapter_model.safetensors`, ""],
});
const byScript = (name: string): Files => ({
  model: `decoders/${name}`,
  golden: `decoders/${name}/golden.safetensors`,
  lora: `decoders/${name}/lora.safetensors`,
  adapter: `decoders/${name}/adapter`,
  after: [`decoders/${name}/lora.safetensors`, "after."],
});
const FILES: readonly Files[] = [
  ...["llama", "llama_bias", "qwen2", "phi3", "gpt2", "qwen"].map(byPeft),
  ...readdirSync(golden("decoders"))
    .filter((name) => existsSync(golden(`decoders/${name}/lora.safetensors`)))
    .map(byScript),
];

/** A row without padding, and rows padded on the right, on the left, and on both sides. In the last row the reference also learns
 *  to predict the first real token from the padding before it, so the attention of padding matters too. */
async function goldenBatch(files: Files): Promise<TrainingBatch> {
  const [{ int }, lora] = [await goldenTensors(files.golden), await goldenTensors(files.lora)];
  const labels = (lora.has("labels") ? lora : { int }).int("labels");
  const feeds = { input_ids: int("input_ids"), attention_mask: int("attention_mask"), labels: shiftedLabels(labels) };
  return { feeds, sizes: { batch: 4, sequence: 24 } };
}

async function lora(model: Model, folder: string): Promise<LoraAdapter> {
  const adapter = await loadAdapter(golden(folder), model.base.modules);
  if (adapter.kind !== "lora") throw new Error("not a LoRA");
  return adapter;
}

/** PEFT's names of a module's A and B. */
const peftNames = (module: string) => ({
  a: `base_model.model.${module}.lora_A.weight`,
  b: `base_model.model.${module}.lora_B.weight`,
});

describe.each(FILES)("$model", (files) => {
  test("with a LoRA, logits and all its gradients equal PEFT's", async () => {
    await using model = await loadModel(golden(files.model));
    const expected = await goldenTensors(files.lora);
    const batch = await goldenBatch(files);
    const { input_ids: inputIds, attention_mask: attentionMask } = batch.feeds as Record<string, HostTensor<"int64">>;
    const adapter = await lora(model, files.adapter);
    const adapted = model.withWoven(singleAdapter(adapter, model.base.modules));
    const { logits } = await adapted.forward({ inputIds: inputIds!, attentionMask: attentionMask! });
    expectClose(logits, expected.float("logits"), 1e-4, attentionMask!);
    const found = await differentiated(model, adapterLearner(model.base, adapter), batch);
    expect(found.loss).toBeCloseTo(expected.float("losses").data[0]!, 5);
    expect(found.gradients.size).toBe(expected.names.filter((tensor) => tensor.startsWith("grad.")).length);
    for (const module of adapter.modules.keys()) {
      const [ours, theirs] = [loraNames(module), peftNames(module)];
      expectClose(found.gradients.get(ours.a)!, expected.get(`grad.${theirs.a}`), 1e-4);
      expectClose(found.gradients.get(ours.b)!, expected.get(`grad.${theirs.b}`), 1e-4);
    }
  });

  test("five AdamW steps end where PEFT's do", async () => {
    await using model = await loadModel(golden(files.model));
    const expected = await goldenTensors(files.lora);
    const adapter = await lora(model, files.adapter);
    const learner = adapterLearner(model.base, adapter);
    const batch = await goldenBatch(files);
    await using trainer = await Trainer.create(model.base.architecture, learner, { dropout: 0, clip: Number.POSITIVE_INFINITY, seed: 1 });
    const losses: number[] = [];
    for (let step = 0; step < 5; step++) losses.push((await trainer.step(step, LR, [batch])).loss);
    losses.push(await trainer.score([batch]));
    expected.float("losses").data.forEach((loss, i) => {
      expect(losses[i]).toBeCloseTo(loss, 4);
    });
    const [file, prefix] = files.after;
    const after = await goldenTensors(file);
    for (const module of adapter.modules.keys()) {
      // AdamW divides by sqrt(v), so small gradients amplify rounding. 1e-4 is three times the difference between float32 and float64.
      const [ours, theirs] = [loraNames(module), peftNames(module)];
      expectClose((await trainer.parameters()).get(ours.a)!, after.get(prefix + theirs.a), 1e-4);
      expectClose((await trainer.parameters()).get(ours.b)!, after.get(prefix + theirs.b), 1e-4);
    }
  });
});
