/** @file Whole models on engines that lack operators: with everything lowered on the CPU, and WebGPU in npm run check:webgpu. */

import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { seededRandom } from "../src/base/random.ts";
import { int64 } from "../src/base/tensor.ts";
import { type Batch, batchFeeds } from "../src/inference/batch.ts";
import { RoutedPool } from "../src/inference/routed-pool.ts";
import { loadModel } from "../src/library/model.ts";
import { phatgoose } from "../src/methods/phatgoose.ts";
import { t5Experts } from "../src/routing/experts.test-helper.ts";
import type { Engine } from "../src/runtime/engine.ts";
import { cpu, webgpu } from "../src/runtime/onnxruntime-node.ts";
import { adapterLearner } from "../src/training/learner.ts";
import { ENGINES_HERE, EVERY_USE, lacking } from "./engines.ts";
import { expectClose, golden, goldenTensors } from "./golden.ts";
import { differentiated } from "./gradients.ts";

/** float32 against float32, the same numbers added in another order, over up to 8 layers; logits reach 20. */
const NOISE = 1e-4;
/** A GPU's exponentials and roots have errors of a few more units in the last place, and errors add up over layers. */
const GPU_NOISE = 5e-4;

const MASKED = lacking(cpu, EVERY_USE, "masked");
const SORTED = { ...lacking(cpu, EVERY_USE, "sorted"), name: "cpu, experts sorted" };
/** Takes minutes on a software GPU, so only npm run check:webgpu runs it. */
const onGpu = process.env.SKEIN_DEVICE === "webgpu" ? ENGINES_HERE.filter((engine) => engine === webgpu) : [];
const noiseOf = ({ device }: Engine) => (device === "webgpu" ? GPU_NOISE : NOISE);

const DEMO = fileURLToPath(new URL("../assets/demo-base", import.meta.url));
const BASES = [
  DEMO,
  ...[
    "llama/model",
    "gpt2/model",
    "phi3/model",
    "decoders/gemma2",
    "decoders/qwen3",
    "decoders/llama_dynamic",
    "decoders/phi3_longrope",
  ].map(golden),
];

/** Ids of two rows, the second one shorter. */
function batchFor(kind: "decoder-only" | "encoder-decoder", length = 24): Batch {
  const random = seededRandom(3);
  const ids = (width: number) =>
    int64(
      [2, width],
      Array.from({ length: 2 * width }, () => 3 + random.integer(40)),
    );
  const mask = int64(
    [2, length],
    Array.from({ length: 2 * length }, (_, i) => Number(i < 2 * length - 5)),
  );
  return { inputIds: ids(length), attentionMask: mask, ...(kind === "encoder-decoder" && { decoderInputIds: ids(7) }) };
}

describe.each([MASKED, ...onGpu])("$name", (engine) => {
  test.each(BASES)("the logits of %s", async (folder) => {
    await using expected = await loadModel(folder);
    await using model = await loadModel(folder, { engine });
    const batch = batchFor(model.base.architecture.kind);
    const real = model.base.architecture.kind === "decoder-only" ? batch.attentionMask : undefined;
    expectClose((await model.forward(batch)).logits, (await expected.forward(batch)).logits, noiseOf(engine), real);
  });
});

describe.each([MASKED, SORTED, ...onGpu])("$name", (engine) => {
  test("a routed pool gives the same routes and logits", async () => {
    const base = await goldenTensors("t5/golden.safetensors");
    const batch = {
      inputIds: base.int("input_ids"),
      attentionMask: base.int("attention_mask"),
      decoderInputIds: base.int("decoder_input_ids"),
    };
    const [expected, got] = await Promise.all(
      [cpu, engine].map(async (each) => {
        await using model = await loadModel(golden("t5/model"), { engine: each });
        const pool = new RoutedPool(await t5Experts(model.base.modules), model.base.modules, { router: phatgoose({ topK: 2 }) });
        return await model.withWoven(pool).forward(batch, { routes: true });
      }),
    );
    expectClose(got!.logits, expected!.logits, noiseOf(engine));
    for (const [module, { experts, weights }] of expected!.routes!) {
      expect(got!.routes!.get(module)!.experts.data).toEqual(experts.data);
      expectClose(got!.routes!.get(module)!.weights, weights, noiseOf(engine));
    }
  });

  test("the gradients of a LoRA", async () => {
    await using model = await loadModel(golden("t5/model"));
    const base = await goldenTensors("t5/golden.safetensors");
    const [expert] = await t5Experts(model.base.modules);
    if (expert?.adapter.kind !== "lora") throw new Error("not a LoRA");
    const learner = adapterLearner(model.base, expert.adapter);
    const feeds = batchFeeds(
      { inputIds: base.int("input_ids"), attentionMask: base.int("attention_mask"), decoderInputIds: base.int("decoder_input_ids") },
      model.base.architecture,
    );
    const batch = { feeds: { ...feeds, labels: base.int("labels") }, sizes: { batch: 4, sequence: 24, targets: 11 } };
    const [expected, got] = [
      await differentiated(model, learner, batch),
      await differentiated(model, learner, batch, undefined, { engine }),
    ];
    expect(Math.abs(got.loss - expected.loss)).toBeLessThan(noiseOf(engine));
    expect([...expected.gradients.values()].some(({ data }) => data.some((value) => Math.abs(value) > 1e-3))).toBe(true);
    for (const [name, gradient] of expected.gradients) expectClose(got.gradients.get(name)!, gradient, noiseOf(engine));
  });
});
