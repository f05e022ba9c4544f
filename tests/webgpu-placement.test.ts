/** @file On WebGPU no operator on floats runs on the CPU. Only operators on sizes, positions and masks do; these are integers on the host. */

import { expect, test } from "vitest";
import { int64 } from "../src/base/tensor.ts";
import { placed } from "../src/doctor/placement.ts";
import { generateBatch } from "../src/generation/generate.ts";
import { randomPool } from "../src/generation/woven.test-helper.ts";
import { type Batch, batchFeeds } from "../src/inference/batch.ts";
import { RoutedPool } from "../src/inference/routed-pool.ts";
import { loadModel } from "../src/library/model.ts";
import { phatgoose } from "../src/methods/phatgoose.ts";
import { t5Experts } from "../src/routing/experts.test-helper.ts";
import { webgpu } from "../src/runtime/onnxruntime-node.ts";
import type { SessionOptions } from "../src/runtime/session.ts";
import { adapterLearner } from "../src/training/learner.ts";
import { webgpuMissing } from "./engines.ts";
import { golden, goldenTensors } from "./golden.ts";
import { differentiated } from "./gradients.ts";

const skipped = webgpuMissing ?? (process.env.SKEIN_DEVICE === "webgpu" ? undefined : "run by npm run check:webgpu");
const base = await goldenTensors("t5/golden.safetensors");
const t5: Batch = {
  inputIds: base.int("input_ids"),
  attentionMask: base.int("attention_mask"),
  decoderInputIds: base.int("decoder_input_ids"),
};

/** Greedy tokens, top-k and all logits. */
const SAMPLINGS = [{ temperature: 0 }, { temperature: 1, topK: 5 }, { temperature: 1 }];

const USES: Readonly<Record<string, (options: SessionOptions) => Promise<void>>> = {
  "a routed forward": async (options) => {
    await using model = await loadModel(golden("t5/model"), options);
    const pool = new RoutedPool(await t5Experts(model.base.modules), model.base.modules, { router: phatgoose({ topK: 2 }) });
    await model.withWoven(pool).forward(t5);
  },
  "a routed generation": async (options) => {
    await using base = await loadModel(golden("llama/model"), options);
    const prompts = [
      [5, 9, 12, 31],
      [7, 8],
    ];
    const model = base.withWoven(randomPool(base));
    for (const sampling of SAMPLINGS) await generateBatch(model, prompts, { ...sampling, ignoreEos: true, maxNewTokens: 4 });
  },
  "the gradients of a LoRA": async (options) => {
    await using model = await loadModel(golden("t5/model"));
    const [expert] = await t5Experts(model.base.modules);
    if (expert?.adapter.kind !== "lora") throw new Error("not a LoRA");
    const learner = adapterLearner(model.base, expert.adapter);
    const feeds = { ...batchFeeds(t5, model.base.architecture), labels: base.int("labels") };
    await differentiated(model, learner, { feeds, sizes: { batch: 4, sequence: 24, targets: 11 } }, undefined, options);
  },
  ...Object.fromEntries(
    ["llama/model", "gpt2/model", "phi3/model", "qwen2/model", "decoders/gemma3_text", "decoders/llama_dynamic"].map((name) => [
      `a forward of ${name}`,
      async (options: SessionOptions) => {
        await using model = await loadModel(golden(name), options);
        const inputIds = int64(
          t5.inputIds.shape,
          t5.inputIds.data.map((id) => id % 60n),
        );
        await model.forward({ inputIds, attentionMask: t5.attentionMask! });
      },
    ]),
  ),
};

test.skipIf(skipped).each(Object.entries(USES))(`%s ${skipped ? `(skipped: ${skipped})` : ""}`, async (_, use) => {
  const { device, floatsOnHost } = (await placed(webgpu, use)).placement;
  expect(device).toBeGreaterThan(20);
  expect(floatsOnHost).toEqual([]);
});
