/** @file Llama (Touvron et al. 2023, arXiv:2302.13971, arXiv:2307.09288; reference: transformers, models/llama), versions
 *  1 to 3.x, and all models with this model_type: SmolLM, TinyLlama, Yi.
 *  RMSNorm before each sub-layer - rotary positions, scaled or not - grouped-query attention - SwiGLU - biases only where
 *  the configuration says so - head tied to the embeddings or untied. */

import * as z from "zod";
import { activationOf } from "./activations.ts";
import type { DecoderOnly } from "./architecture.ts";
import { parseConfig } from "./config.ts";
import { type ArchitectureFactory, configKeys, reading } from "./config-keys.ts";
import { type DecoderConfig, decoderFields, decoderOnly, gatedMlp, headsOf, preNormBlock, rmsNormOf, selfAttention } from "./decoder.ts";
import { ropeOf } from "./rope.ts";

const schema = z.object({
  ...decoderFields,
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
});

export const llama: ArchitectureFactory = reading(configKeys(schema), (raw) => {
  const config = parseConfig(schema, raw);
  const biases = { inward: config.attention_bias, outward: config.attention_bias };
  return llamaLike(config, { biases, mlpBias: config.mlp_bias });
});

/** The options of architectures that are built like Llama. */
export interface Variation {
  readonly biases?: { readonly inward?: boolean; readonly outward?: boolean };
  readonly mlpBias?: boolean;
  /** The number of positions that layer i attends to, its own included; all when undefined. */
  readonly window?: (i: number) => number | undefined;
  /** A norm on each head of q and k. */
  readonly headNorms?: boolean;
}

export function llamaLike(config: DecoderConfig, { biases, mlpBias, window, headNorms }: Variation): DecoderOnly {
  const heads = headsOf(config);
  const { hiddenSize } = heads;
  const norm = rmsNormOf(config.rms_norm_eps);
  const attention = { ...heads, biases, rope: ropeOf(config, heads.headSize), headNorm: headNorms ? norm : undefined };
  const mlp = { hiddenSize, innerSize: config.intermediate_size, activation: activationOf(config.hidden_act), bias: mlpBias };
  return decoderOnly({
    vocabularySize: config.vocab_size,
    hiddenSize,
    numLayers: config.num_hidden_layers,
    dropoutRate: config.attention_dropout,
    steadyUntil: attention.rope.steadyUntil,
    embedding: "model.embed_tokens",
    layer: (i) => `model.layers.${i}`,
    block: (x, path, i, positions, parts) =>
      preNormBlock(x, path, (y, name) => norm(y, name, parts), {
        attention: (y) => selfAttention(y, `${path}.self_attn`, positions, { ...attention, window: window?.(i) }, parts),
        mlp: (y) => gatedMlp(y, `${path}.mlp`, mlp, parts),
      }),
    norm: (x, parts) => norm(x, "model.norm", parts),
    tied: config.tie_word_embeddings,
  });
}
