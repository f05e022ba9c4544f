/** @file Missing fields of a configuration have the defaults of the configuration classes of transformers 4.57.6. */

import { expect, test } from "vitest";
import type { DecoderOnly } from "./architecture.ts";
import { tracedModules, tracedTensors } from "./logits.ts";
import { architectureOf } from "./registry.ts";

const SIZES = { vocab_size: 64, hidden_size: 512, intermediate_size: 96, num_hidden_layers: 1, num_attention_heads: 32 };
const DYNAMIC = { rope_scaling: { type: "dynamic", factor: 2 } };

function architecture(config: Readonly<Record<string, unknown>>): DecoderOnly {
  const found = architectureOf({ directory: "folder", config, tensors: new Map() });
  if (found.kind !== "decoder-only") throw new Error("a decoder-only model is expected");
  return found;
}

test.each([
  ["llama", { length: 2048, kvHeads: 32, headSize: 16, tied: false }],
  ["mistral", { length: 131072, kvHeads: 8, headSize: 16, tied: false }],
  ["qwen2", { length: 32768, kvHeads: 32, headSize: 16, tied: false }],
  ["qwen3", { length: 32768, kvHeads: 32, headSize: 128, tied: false }],
  ["gemma", { length: 8192, kvHeads: 16, headSize: 256, tied: true }],
  ["gemma2", { length: 8192, kvHeads: 4, headSize: 256, tied: true }],
  ["gemma3_text", { length: 131072, kvHeads: 4, headSize: 256, tied: true }],
])("%s: trained length, heads and head", (model_type, { length, kvHeads, headSize, tied }) => {
  const found = architecture({ model_type, ...SIZES, ...DYNAMIC });
  expect(found.steadyUntil!(1)).toBe(length);
  expect(tracedModules(found).get("model.layers.0.self_attn.k_proj")!.out).toBe(kvHeads * headSize);
  expect(tracedTensors(found).has("lm_head.weight")).toBe(!tied);
});

test("phi3: as many heads of keys as of queries, trained with 4096 tokens, whatever the scaling says beside `rope_parameters`", () => {
  const longrope = { rope_type: "longrope", short_factor: Array(8).fill(1), long_factor: Array(8).fill(2) };
  const old = architecture({ model_type: "phi3", ...SIZES, rope_scaling: longrope, max_position_embeddings: 131072 });
  expect(old.steadyUntil!(1)).toBe(4096);
  expect(tracedModules(old).get("model.layers.0.self_attn.qkv_proj")!.out).toBe(3 * 512);
  const within = { ...longrope, original_max_position_embeddings: 1024 };
  expect(architecture({ model_type: "phi3", ...SIZES, rope_parameters: within }).steadyUntil!(1)).toBe(1024);
});

test("qwen: files of August 2023 leave out what is off, later ones what is on", () => {
  const { hidden_size: n_embd, num_hidden_layers: n_layer, num_attention_heads: n_head, intermediate_size: ffn_hidden_size } = SIZES;
  const old = architecture({ model_type: "qwen", vocab_size: 64, n_embd, n_layer, n_head, ffn_hidden_size, seq_length: 128 });
  expect(old.steadyUntil!(1)).toBe(Number.POSITIVE_INFINITY);
  expect(architecture({ model_type: "qwen", ...SIZES, seq_length: 128 }).steadyUntil!(1)).toBe(128);
});

test("gpt2: 1024 positions, a feed-forward layer four times as wide, head tied", () => {
  const found = architecture({ model_type: "gpt2", vocab_size: 64, n_embd: 32, n_layer: 1, n_head: 4 });
  expect(found.maxPositions).toBe(1024);
  expect(tracedModules(found).get("transformer.h.0.mlp.c_fc")!.out).toBe(128);
  expect(tracedTensors(found).has("lm_head.weight")).toBe(false);
});
