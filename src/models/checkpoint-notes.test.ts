/** @file Every key and every tensor of a base is read, known to have no effect, named in a warning, or refused. */

import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { respelled } from "../../tests/checkpoints.ts";
import { golden } from "../../tests/golden.ts";
import { float32, type HostTensor } from "../base/tensor.ts";
import { openBase } from "../inference/base.ts";

type Config = Readonly<Record<string, unknown>>;
type Add = (tensors: ReadonlyMap<string, HostTensor>) => Readonly<Record<string, HostTensor>>;

const DECODERS = golden("decoders");
const MODELS = [
  ...["t5", "gpt2", "llama", "qwen"].map((name) => golden(`${name}/model`)),
  ...readdirSync(DECODERS).map((name) => join(DECODERS, name)),
].filter((folder) => existsSync(join(folder, "config.json")));
const decoder = (name: string): string => join(DECODERS, name);
const LLAMA = golden("llama/model");
const GPT2 = golden("gpt2/model");

test.each(MODELS)("of %s as transformers saved it there is nothing to tell", async (folder) => {
  expect((await openBase(folder)).warnings).toEqual([]);
});

async function warningsOf(folder: string, change: Config, add: Add = () => ({})): Promise<readonly string[]> {
  let warnings: readonly string[] = [];
  await respelled(folder, { config: (config) => ({ ...config, ...change }), add }, async (copy) => {
    warnings = (await openBase(copy)).warnings;
  });
  return warnings;
}

const refusedKeys: [string, string, Config, RegExp][] = [
  ["a scale of attention", LLAMA, { attention_multiplier: 0.015625 }, /attention_multiplier is 0.015625/],
  [
    "scales and caps, all at once",
    LLAMA,
    { embedding_multiplier: 12, final_logit_softcapping: 30 },
    /embedding_mul[\s\S]*final_logit_soft/,
  ],
  ["a sliding window that the architecture has not", LLAMA, { sliding_window: 4096 }, /sliding_window is 4096/],
  ["layers that slide", LLAMA, { layer_types: ["sliding_attention", "full_attention"] }, /layer_types is \["sliding/],
  ["a mixture of experts", LLAMA, { num_local_experts: 8, num_experts_per_tok: 2 }, /num_local_experts is 8/],
  ["biases that the architecture has not", decoder("mistral_full"), { attention_bias: true }, /attention_bias is true/],
  ["norms of q and k", LLAMA, { qk_layernorm: true }, /qk_layernorm is true/],
  ["an unknown key that speaks of a computation", LLAMA, { sparkle_multiplier: 3 }, /sparkle_multiplier is 3/],
  ["rotary positions in GPT-2", GPT2, { rope_theta: 10000 }, /rope_theta is 10000/],
  ["cross-attention in GPT-2", GPT2, { add_cross_attention: true }, /add_cross_attention is true/],
  ["T5's activation said two ways", golden("t5/model"), { dense_act_fn: "silu" }, /dense_act_fn is "silu"/],
  ["Gemma with another activation than is meant", decoder("gemma"), { hidden_act: "silu" }, /hidden_act is "silu"/],
  ["Qwen with heads of another size", golden("qwen/model"), { kv_channels: 7 }, /kv_channels is 7/],
  ["a classifier", LLAMA, { architectures: ["LlamaForSequenceClassification"] }, /LlamaForSequenceClassification: it ends in another head/],
];
test.each(refusedKeys)("config.json is refused for %s", async (_, folder, change, reason) => {
  await expect(warningsOf(folder, change)).rejects.toMatchObject({ code: "checkpoint-setting", message: expect.stringMatching(reason) });
});

test("keys without effect pass, and so do others that say that they are not used; unknown ones are told by name", async () => {
  const idle = {
    _name_or_path: "a",
    use_cache: true,
    id2label: { 0: "x" },
    temperature: 0.7,
    pretraining_tp: 2,
    unsloth_version: "2026.1",
  };
  const off = { sliding_window: null, qk_layernorm: false, embedding_multiplier: 1, partial_rotary_factor: 1, pruned_heads: {} };
  expect(await warningsOf(LLAMA, { ...idle, ...off })).toEqual([]);
  expect(await warningsOf(LLAMA, { sparkle: 3, dull: null })).toEqual([
    expect.stringMatching(/unknown here and have no effect: sparkle, dull\./),
  ]);
  const spoken = { quantization_config: { quant_method: "gptq", bits: 4 } };
  expect(await warningsOf(LLAMA, spoken)).toEqual([expect.stringMatching(/quantized with GPTQ; they are not/)]);
});

const table = (tensors: ReadonlyMap<string, HostTensor>): HostTensor => tensors.get("transformer.wte.weight")!;
const changed = ({ shape, data }: HostTensor): HostTensor =>
  float32(
    shape,
    (data as Float32Array).map((x, i) => (i === 5 ? x + 1e-3 : x)),
  );

const refusedTensors: [string, string, Add, RegExp][] = [
  [
    "a trained head under tied embeddings",
    GPT2,
    (all) => ({ "lm_head.weight": changed(table(all)) }),
    /lm_head.weight differs from .*wte.weight/,
  ],
  [
    "a bias that config.json does not speak of",
    LLAMA,
    () => ({ "model.layers.0.mlp.up_proj.bias": float32([2], [0, 1]) }),
    /up_proj.bias is a bias/,
  ],
  ["a classifier's head", LLAMA, () => ({ "score.weight": float32([2, 2]) }), /score.weight is the head of a classifier/],
  ["a layer too many", LLAMA, () => ({ "model.layers.9.mlp.up_proj.weight": float32([2, 2]) }), /layer beyond those/],
  ["an adapter inside", LLAMA, () => ({ "model.layers.0.mlp.up_proj.lora_A.default.weight": float32([2, 2]) }), /saved inside its base/],
  [
    "norms of q and k",
    LLAMA,
    () => ({ "model.layers.0.self_attn.q_norm.weight": float32([2]), "model.layers.0.self_attn.k_norm.weight": float32([2]) }),
    /_norm.weight \(and 1 more that are not read\) is none that this/,
  ],
];
test.each(refusedTensors)("a checkpoint is refused for %s", async (_, folder, add, reason) => {
  await expect(warningsOf(folder, {}, add)).rejects.toMatchObject({
    code: "checkpoint-tensor-unread",
    message: expect.stringMatching(reason),
  });
});

test("tensors that ZeRO-3 left empty are told to be that", async () => {
  await expect(warningsOf(LLAMA, {}, () => ({ "model.norm.weight": float32([0]) }))).rejects.toMatchObject({
    code: "checkpoint-empty-tensors",
    message: expect.stringMatching(/1 of the \d+ tensors are empty, model.norm.weight \[0\][\s\S]*ZeRO-3/),
  });
});

test("tensors of no effect pass; those of other parts are told by name", async () => {
  const same: Add = (all) => ({ "lm_head.weight": table(all), "transformer.h.0.attn.bias": float32([1, 1, 2, 2]) });
  expect(await warningsOf(GPT2, {}, same)).toEqual([]);
  const zero: Add = () => ({
    "model.layers.0.mlp.up_proj.bias": float32([2]),
    "model.layers.0.self_attn.rotary_emb.inv_freq": float32([4]),
  });
  expect(await warningsOf(LLAMA, {}, zero)).toEqual([]);
  const parts: Add = () => ({
    "vision_tower.a.weight": float32([2]),
    "vision_tower.b.weight": float32([2]),
    "v_head.summary.weight": float32([2]),
  });
  expect((await warningsOf(LLAMA, {}, parts)).toSorted()).toEqual([
    expect.stringMatching(/^v_head.summary.weight: a head beside/),
    expect.stringMatching(/^vision_tower.a.weight and 1 more: a part for images/),
  ]);
});

test("an untied configuration reads the head, so that a trained one is of use", async () => {
  expect(await warningsOf(GPT2, { tie_word_embeddings: false }, (all) => ({ "lm_head.weight": changed(table(all)) }))).toEqual([]);
});
