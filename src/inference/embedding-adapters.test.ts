/** @file Adapters on embeddings and heads, held to base models whose own weights were changed instead. A tied head gets weights of
 *  its own there: PEFT's adapter sits on a module, so one on the embeddings leaves a head that shares their weights as it was. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { expectClose, golden, maxDifference } from "../../tests/golden.ts";
import type { LoraAdapter, LoraWeights } from "../adapters/adapter.ts";
import { loraProduct, mergeAdapters } from "../adapters/merge.ts";
import { seededRandom } from "../base/random.ts";
import { float32, type HostTensor, int64 } from "../base/tensor.ts";
import { saveCheckpoint } from "../checkpoint/checkpoint.ts";
import { readTensor } from "../checkpoint/safetensors.ts";
import { scoreTokens } from "../evaluation/scoring/score-tokens.ts";
import type { LoadedModel } from "../library/model.ts";
import { loadModel } from "../library/model.ts";
import { averageActivation } from "../methods/average-activation.ts";
import { phatgoose } from "../methods/phatgoose.ts";
import { openMethod, parsedMethod } from "../methods/registry.ts";
import { averageActivations } from "../training/activations.ts";
import { gateLearner } from "../training/learner.ts";
import { RoutedPool } from "./routed-pool.ts";
import { singleAdapter } from "./woven.ts";

// Two float32 computations of the same sums in another order; logits are of size 10.
const TOLERANCE = 1e-4;

/** Checkpoint, module and tensor of the embeddings; what a tied head multiplies its input by. */
const BASES: Readonly<Record<string, { embeddings: string[]; tensor: string; headScale?: (width: number) => number }>> = {
  "llama/model": { embeddings: ["model.embed_tokens"], tensor: "model.embed_tokens.weight" },
  "gpt2/model": { embeddings: ["transformer.wte"], tensor: "transformer.wte.weight" },
  // Both multiply the embeddings by the root of their width: PEFT multiplies what its adapter adds as well.
  "decoders/gemma": { embeddings: ["model.embed_tokens"], tensor: "model.embed_tokens.weight" },
  "decoders/gemma3_text": { embeddings: ["model.embed_tokens"], tensor: "model.embed_tokens.weight" },
  "t5_v1_0/model": {
    embeddings: ["encoder.embed_tokens", "decoder.embed_tokens"],
    tensor: "shared.weight",
    headScale: (width) => width ** -0.5,
  },
};

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-embeddings-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

function randomLora(model: LoadedModel, module: string, seed: number): LoraWeights {
  const { in: inputs, out, embedding } = model.base.modules.get(module)!;
  const random = seededRandom(seed);
  const tensor = (...shape: [number, number]) => float32(shape, new Float32Array(shape[0] * shape[1]).map(random.normal));
  // Embeddings of the tiny models are small, and their heads' inputs are not.
  const scaling = embedding ? 0.05 : 0.02;
  return { rank: 3, scaling, a: tensor(3, inputs), b: tensor(out, 3), ...(embedding && { embedding }) };
}
const adapterOf = (modules: readonly (readonly [string, LoraWeights])[]): LoraAdapter => ({
  kind: "lora",
  modules: new Map(modules),
  warnings: [],
});

/** The base with changed embeddings (E + (scaling B A)ᵀ) and head (H + scaling B A), untied. */
async function changedBase(
  name: string,
  { base }: LoadedModel,
  table: LoraWeights | undefined,
  head: LoraWeights | undefined,
): Promise<LoadedModel> {
  const { tensor, headScale = () => 1 } = BASES[name]!;
  const tensors = new Map<string, HostTensor>();
  for (const [key, info] of base.checkpoint.tensors) tensors.set(key, await readTensor(info));
  const e = tensors.get(tensor) as HostTensor<"float32">;
  const [rows = 0, width = 0] = e.shape;
  const own = tensors.get("lm_head.weight") as HostTensor<"float32"> | undefined;
  const product = head && loraProduct(head);
  // A tied head scales its input, so its own weights carry the scale.
  const scale = own ? 1 : headScale(width);
  tensors.set(
    "lm_head.weight",
    float32(
      [rows, width],
      (own ?? e).data.map((value, i) => scale * (value + (product?.[i] ?? 0))),
    ),
  );
  const added = table && loraProduct(table); // [width, rows]
  if (added)
    tensors.set(
      tensor,
      float32(
        [rows, width],
        e.data.map((value, i) => value + added[(i % width) * rows + Math.floor(i / width)]!),
      ),
    );
  const out = await mkdtemp(join(folder, "base-"));
  await saveCheckpoint(out, { config: { ...base.checkpoint.config, tie_word_embeddings: false }, tensors });
  return loadModel(out);
}

function batchOf({ base: { architecture } }: LoadedModel) {
  const random = seededRandom(5);
  const ids = (rows: number, width: number) =>
    int64(
      [rows, width],
      Array.from({ length: rows * width }, () => random.integer(architecture.vocabularySize)),
    );
  const batch = { inputIds: ids(3, 11) };
  return architecture.kind === "encoder-decoder" ? { ...batch, decoderInputIds: ids(3, 4) } : batch;
}

describe.each(Object.keys(BASES))("%s", (name) => {
  test.each([
    ["embeddings", true, false],
    ["head", false, true],
    ["embeddings and head", true, true],
  ])("an adapter on %s computes what changed weights compute, and no more", async (_, onTable, onHead) => {
    await using model = await loadModel(golden(name));
    const { embeddings } = BASES[name]!;
    const table = onTable ? randomLora(model, embeddings[0]!, 1) : undefined;
    const head = onHead ? randomLora(model, "lm_head", 2) : undefined;
    const batch = batchOf(model);
    const { logits: plain } = await model.forward(batch);
    const woven = singleAdapter(
      adapterOf([...(table ? embeddings.map((module) => [module, table] as const) : []), ...(head ? [["lm_head", head] as const] : [])]),
      model.base.modules,
    );
    const { logits } = await model.withWoven(woven).forward(batch);
    await using changed = await changedBase(name, model, table, head);
    expectClose(logits, (await changed.forward(batch)).logits, TOLERANCE);
    expect(maxDifference(logits, plain)).toBeGreaterThan(0.05);
  });
});

describe("on a tiny Llama", () => {
  const NAME = "llama/model";
  const TABLE = "model.embed_tokens";

  test("likelihoods are those of changed weights", async () => {
    await using model = await loadModel(golden(NAME));
    const [table, head] = [randomLora(model, TABLE, 1), randomLora(model, "lm_head", 2)];
    const woven = singleAdapter(
      adapterOf([
        [TABLE, table],
        ["lm_head", head],
      ]),
      model.base.modules,
    );
    await using changed = await changedBase(NAME, model, table, head);
    const requests = [
      {
        context: [5, 9, 33, 2],
        continuations: [
          [7, 8],
          [150, 4, 11],
        ],
      },
    ];
    const [[found], [expected]] = [await scoreTokens(model.withWoven(woven), requests, {}), await scoreTokens(changed, requests, {})];
    found!.forEach(({ sum }, i) => {
      expect(Math.abs(sum - expected![i]!.sum)).toBeLessThan(TOLERANCE);
    });
  });

  test("two merge exactly, on embeddings as on projections", async () => {
    await using model = await loadModel(golden(NAME));
    const loras = [1, 2].map((seed) => randomLora(model, TABLE, seed));
    const batch = batchOf(model);
    for (const [method, factor] of [
      ["average", 0.5],
      ["cat", 1],
    ] as const) {
      const merged = mergeAdapters(
        loras.map((lora) => adapterOf([[TABLE, lora]])),
        { kind: method },
      );
      const { logits } = await model.withWoven(singleAdapter(merged, model.base.modules)).forward(batch);
      // One LoRA of both, side by side, put together by hand.
      const [p, q] = loras as [LoraWeights, LoraWeights];
      const b = float32([64, 6]);
      for (let o = 0; o < 64; o++) b.data.set([...p.b.data.subarray(3 * o, 3 * o + 3), ...q.b.data.subarray(3 * o, 3 * o + 3)], 6 * o);
      const a = float32([6, 160], [...p.a.data, ...q.a.data]);
      await using changed = await changedBase(NAME, model, { rank: 6, scaling: factor * p.scaling, a, b, embedding: true }, undefined);
      expectClose(logits, (await changed.forward(batch)).logits, TOLERANCE);
    }
  });

  test("whatever reads the input of each module refuses them by name; a merged pool does not", async () => {
    await using model = await loadModel(golden(NAME));
    const adapter = adapterOf([
      [TABLE, randomLora(model, TABLE, 1)],
      ["lm_head", randomLora(model, "lm_head", 2)],
    ]);
    const experts = [{ name: "words", adapter, warnings: [] }];
    const refusal = /Expert "words" adapts the embeddings model\.embed_tokens[\s\S]*as `adapter`/;
    for (const router of [phatgoose(), averageActivation()])
      expect(() => new RoutedPool(experts, model.base.modules, { router })).toThrow(refusal);
    await expect(openMethod({ ...model, experts }, parsedMethod("phatgoose"))).rejects.toThrow(refusal);
    expect(() => gateLearner(model.base, adapter)).toThrow(/adapts the embeddings/);
    await expect(averageActivations(model, adapter, [{ inputs: [1, 2], labels: [2, 3] }])).rejects.toThrow(/adapts the embeddings/);

    const batch = batchOf(model);
    const { logits: alone } = await model.withWoven(singleAdapter(adapter, model.base.modules)).forward(batch);
    const pool = await openMethod({ ...model, experts }, parsedMethod("merged"));
    expectClose((await model.withWoven(pool).forward(batch)).logits, alone, TOLERANCE);
  });
});
