import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { expectClose, golden, goldenTensors, maxDifference } from "../../tests/golden.ts";
import { differentiated } from "../../tests/gradients.ts";
import type { Adapter, Ia3Adapter } from "../adapters/adapter.ts";
import { freshBottleneck } from "../adapters/bottleneck.ts";
import { ia3Name } from "../adapters/ia3.ts";
import { withTensors } from "../adapters/in-graph.ts";
import { gateName } from "../adapters/lora.ts";
import { float32, type HostTensor } from "../base/tensor.ts";
import { singleAdapter } from "../inference/woven.ts";
import { type LoadedModel, loadModel } from "../library/model.ts";
import { loadAdapter } from "../storage/peft.ts";
import { saveAdapter } from "../storage/peft-save.ts";
import type { TrainingBatch } from "./batches.ts";
import { adapterLearner, gateLearner } from "./learner.ts";
import { targetModules } from "./train.ts";
import { Trainer } from "./trainer.ts";

const NAMES = ["input_ids", "attention_mask", "decoder_input_ids", "labels"] as const;
const OPTIONS = { dropout: 0, clip: Number.POSITIVE_INFINITY, seed: 1 };

async function t5Batch(): Promise<TrainingBatch> {
  const expected = await goldenTensors("t5/golden.safetensors");
  const feeds = Object.fromEntries(NAMES.map((name) => [name, expected.int(name)]));
  return { feeds, sizes: { batch: 4, sequence: 24, targets: 11 } };
}

async function logitsOf(model: LoadedModel, batch: TrainingBatch): Promise<HostTensor> {
  const { input_ids, attention_mask, decoder_input_ids } = batch.feeds as Record<string, HostTensor<"int64">>;
  return (await model.forward({ inputIds: input_ids!, attentionMask: attention_mask!, decoderInputIds: decoder_input_ids! })).logits;
}

async function ia3(model: LoadedModel, folder: string): Promise<Ia3Adapter> {
  const adapter = await loadAdapter(golden(`ia3_t5/${folder}`), model.base.modules);
  if (adapter.kind !== "ia3") throw new Error("not (IA)3");
  return adapter;
}

test("with (IA)3, logits and all its gradients equal PEFT's", async () => {
  await using model = await loadModel(golden("t5/model"));
  const expected = await goldenTensors("ia3_t5/ia3.safetensors");
  const batch = await t5Batch();
  const adapter = await ia3(model, "adapter_init");
  expectClose(await logitsOf(model.withWoven(singleAdapter(adapter, model.base.modules)), batch), expected.float("logits"), 1e-4);
  const { loss, gradients } = await differentiated(model, adapterLearner(model.base, adapter), batch);
  expect(loss).toBeCloseTo(expected.float("loss").data[0]!, 4);
  for (const module of adapter.modules.keys()) {
    const gradient = expected.float(`grad.base_model.model.${module}.ia3_l`);
    expectClose(gradients.get(ia3Name(module))!, float32([gradient.data.length], gradient.data), 1e-4);
  }
});

test("five AdamW steps of (IA)3 end where PEFT's do", async () => {
  await using model = await loadModel(golden("t5/model"));
  const expected = await goldenTensors("ia3_t5/ia3.safetensors");
  const batch = await t5Batch();
  const adapter = await ia3(model, "adapter_init");
  await using trainer = await Trainer.create(model.base.architecture, adapterLearner(model.base, adapter), OPTIONS);
  const losses: number[] = [];
  for (let step = 0; step < 5; step++) losses.push((await trainer.step(step, 5e-3, [batch])).loss);
  losses.push(await trainer.score([batch]));
  expected.float("losses").data.forEach((loss, i) => {
    expect(losses[i]).toBeCloseTo(loss, 4);
  });
  const trained = withTensors(adapter, await trainer.parameters());
  const reference = await ia3(model, "adapter_step5");
  // AdamW divides by sqrt(v): tiny gradients amplify rounding.
  for (const [module, { scale }] of reference.modules)
    expect(maxDifference(trained.modules.get(module)!.scale, scale), module).toBeLessThan(1e-4);
  expectClose(await logitsOf(model.withWoven(singleAdapter(trained, model.base.modules)), batch), expected.float("logits_after5"), 1e-3);
});

/** A bottleneck whose up-projection is not 0, so that it has an effect. */
function bottleneck(model: LoadedModel, placement: "parallel" | "output"): Adapter {
  const fresh = freshBottleneck(model.base.modules, {
    targets: targetModules(model.base, undefined).slice(0, 6),
    size: 4,
    activation: "silu",
    placement,
    seed: 3,
  });
  const modules = [...fresh.modules].map(([module, weights]) => {
    const up = float32(
      weights.up.shape,
      weights.up.data.map((_, i) => 0.05 * Math.sin(i)),
    );
    const down = float32(
      weights.down.shape,
      weights.down.data.map((value) => 20 * value),
    );
    return [module, { ...weights, up, down }] as const;
  });
  return { ...fresh, modules: new Map(modules) };
}

test.each(["parallel", "output"] as const)("a %s bottleneck trains, is saved and computes the same when loaded", async (placement) => {
  await using model = await loadModel(golden("t5/model"));
  const folder = await mkdtemp(join(tmpdir(), "skein-bottleneck-"));
  try {
    const batch = await t5Batch();
    const start = bottleneck(model, placement);
    await using trainer = await Trainer.create(model.base.architecture, adapterLearner(model.base, start), OPTIONS);
    const before = await trainer.score([batch]);
    for (let step = 0; step < 5; step++) await trainer.step(step, 5e-3, [batch]);
    expect(await trainer.score([batch])).toBeLessThan(before);
    const trained = withTensors(start, await trainer.parameters());
    const logits = await logitsOf(model.withWoven(singleAdapter(trained, model.base.modules)), batch);
    await saveAdapter(folder, trained, { baseName: "tiny" });
    const loaded = await loadAdapter(folder, model.base.modules);
    expect(loaded).toEqual({ ...trained, baseName: "tiny" });
    expect(await logitsOf(model.withWoven(singleAdapter(loaded, model.base.modules)), batch)).toEqual(logits);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test.each(["ia3", "parallel", "output"] as const)("gates of %s adapters get their gradients (central differences)", async (kind) => {
  await using model = await loadModel(golden("t5/model"));
  const batch = await t5Batch();
  const adapter = kind === "ia3" ? await ia3(model, "adapter_init") : bottleneck(model, kind);
  const learner = gateLearner(model.base, adapter);
  const { gradients } = await differentiated(model, learner, batch);
  const [module] = [...adapter.modules.keys()];
  const name = gateName(module!);
  const gradient = gradients.get(name)!;
  const direction = gradient.data.map((g) => g / Math.hypot(...gradient.data));
  const lossAt = async (step: number) => {
    const moved = float32(
      gradient.shape,
      direction.map((d) => d * step),
    );
    return (await differentiated(model, { ...learner, initial: new Map(learner.initial).set(name, moved) }, batch)).loss;
  };
  const slope = ((await lossAt(0.05)) - (await lossAt(-0.05))) / 0.1;
  // The loss is float32, about 5, so a difference over 0.1 is exact to about 1e-5.
  expect(Math.abs(slope - Math.hypot(...gradient.data))).toBeLessThan(0.02 * Math.abs(slope) + 2e-5);
});
