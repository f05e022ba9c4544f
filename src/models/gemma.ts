/** @file Gemma (Mesnard et al. 2024, arXiv:2403.08295; reference: transformers, models/gemma): Llama with
 *  norms that scale by 1 + w - embeddings times sqrt(hidden) - GELU in the gate - a head size independent of the width. */

import * as z from "zod";
import { add, mul } from "../graph/ops/elementwise.ts";
import { rmsNorm } from "../graph/ops/reduce.ts";
import { activationOf } from "./activations.ts";
import { parseConfig } from "./config.ts";
import { type ArchitectureFactory, configKeys, reading } from "./config-keys.ts";
import { decoderFields, decoderOnly, gatedMlp, headsOf, type Norm, preNormBlock, selfAttention } from "./decoder.ts";
import { ropeOf } from "./rope.ts";

/** The fields all Gemmas share. `hidden_act` is ignored: the first files say "gelu" and mean its tanh form. */
export const gemmaFields = {
  ...decoderFields,
  num_key_value_heads: z.int().nullish().default(16),
  head_dim: z.int().default(256),
  hidden_activation: z.string().nullish(),
  attention_bias: z.boolean().default(false),
  tie_word_embeddings: z.boolean().default(true),
  max_position_embeddings: z.int().default(8192),
};
export type GemmaConfig = z.infer<z.ZodObject<typeof gemmaFields>>;

const schema = z.object(gemmaFields);

/** `hidden_act` is not read, so its value must be one that stands for this activation. */
export const gemmaFixed = { hidden_act: ["gelu", "gelu_new", "gelu_pytorch_tanh"] };

export const gemma: ArchitectureFactory = reading(configKeys(schema, { fixed: gemmaFixed }), (raw) => {
  const config = parseConfig(schema, raw);
  const { attention, mlp, norm, stack } = gemmaParts(config);
  const rope = ropeOf(config, attention.headSize);
  return decoderOnly({
    ...stack,
    steadyUntil: rope.steadyUntil,
    block: (x, path, _, positions, parts) =>
      preNormBlock(x, path, (y, name) => norm(y, name, parts), {
        attention: (y) => selfAttention(y, `${path}.self_attn`, positions, { ...attention, rope }, parts),
        mlp: (y) => gatedMlp(y, `${path}.mlp`, mlp, parts),
      }),
  });
});

/** x / sqrt(mean(x^2) + epsilon) * (1 + w) */
export function gemmaNorm(epsilon: number): Norm {
  return (x, path, { weights }) => rmsNorm(x, add(weights(`${path}.weight`, x.shape.at(-1) as number), 1), { epsilon });
}

/** The parts that all Gemmas share, for tensors under `prefix`. */
export function gemmaParts(config: GemmaConfig, { prefix = "model.", head = "lm_head" } = {}) {
  const heads = headsOf(config);
  const { hiddenSize } = heads;
  const norm = gemmaNorm(config.rms_norm_eps);
  const biases = { inward: config.attention_bias, outward: config.attention_bias };
  const activation = activationOf(config.hidden_activation ?? "gelu_pytorch_tanh");
  return {
    norm,
    attention: { ...heads, biases },
    mlp: { hiddenSize, innerSize: config.intermediate_size, activation },
    stack: {
      vocabularySize: config.vocab_size,
      hiddenSize,
      numLayers: config.num_hidden_layers,
      dropoutRate: config.attention_dropout,
      embedding: `${prefix}embed_tokens`,
      enter: ((x) => mul(x, Math.sqrt(hiddenSize))) satisfies Parameters<typeof decoderOnly>[0]["enter"],
      layer: (i: number) => `${prefix}layers.${i}`,
      norm: ((x, parts) => norm(x, `${prefix}norm`, parts)) satisfies Parameters<typeof decoderOnly>[0]["norm"],
      head,
      tied: config.tie_word_embeddings,
    },
  };
}
