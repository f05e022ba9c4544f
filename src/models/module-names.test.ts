import { expect, test } from "vitest";
import { modelTypesWith, moduleNames } from "./module-names.ts";
import { MODEL_TYPES } from "./registry.ts";

test.each(MODEL_TYPES)("%s: the smallest model of the type has modules", (type) => {
  expect(moduleNames(type).filter((name) => /\.0\./.test(name)).length).toBeGreaterThan(3);
});

test.each([
  ["one layer for another", ["transformer.h.11.attn.c_attn"], ["gpt2", "qwen"]],
  ["less in front, as a headless model has it", ["h.3.mlp.c_fc"], ["gpt2"]],
  ["more in front", ["wrapper.transformer.h.3.mlp.c_fc"], ["gpt2"]],
  ["T5's feed-forward layer in its older form", ["encoder.block.2.layer.1.DenseReluDense.wi"], ["mt5", "t5"]],
  ["and in its newer one", ["decoder.block.2.layer.2.DenseReluDense.wi_1"], ["mt5", "t5"]],
  ["Gemma 3 beside a vision tower", ["model.language_model.layers.2.mlp.up_proj"], ["gemma3", "gemma3_text"]],
  ["BLOOM", ["transformer.h.0.self_attention.query_key_value"], []],
  ["OPT, whose projections are called as Llama's", ["model.decoder.layers.0.self_attn.q_proj"], []],
  ["what no one architecture has together", ["model.layers.0.self_attn.qkv_proj", "model.layers.0.self_attn.q_proj"], []],
])("model types by names: %s", (_, modules, types) => {
  expect(modelTypesWith(modules)).toEqual(types);
});
