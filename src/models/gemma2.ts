/** @file Gemma 2 (Riviere et al. 2024, arXiv:2408.00118; reference: transformers, models/gemma2): Gemma with
 *  norms before and after each sub-layer - a sliding window in every second layer, starting with the first - softcaps
 *  c tanh(s / c) on attention scores and logits - a configured scale for the scores. */

import * as z from "zod";
import { add, div, mul, tanh } from "../graph/ops/elementwise.ts";
import type { Float } from "../graph/value.ts";
import type { Parts } from "./architecture.ts";
import { parseConfig } from "./config.ts";
import { type ArchitectureFactory, configKeys, reading } from "./config-keys.ts";
import { decoderOnly, gatedMlp, layerTypes, type Norm, selfAttention } from "./decoder.ts";
import { gemmaFields, gemmaFixed, gemmaParts } from "./gemma.ts";
import { ropeOf } from "./rope.ts";

const schema = z.object({
  ...gemmaFields,
  num_key_value_heads: z.int().nullish().default(4),
  query_pre_attn_scalar: z.number().default(256),
  sliding_window: z.int().nullish().default(4096),
  layer_types: layerTypes,
  attn_logit_softcapping: z.number().nullish().default(50),
  final_logit_softcapping: z.number().nullish().default(30),
});

export const gemma2: ArchitectureFactory = reading(configKeys(schema, { fixed: gemmaFixed }), (raw) => {
  const config = parseConfig(schema, raw);
  const { attention, mlp, norm, stack } = gemmaParts(config);
  const spec = {
    ...attention,
    rope: ropeOf(config, attention.headSize),
    scale: config.query_pre_attn_scalar ** -0.5,
    softcap: config.attn_logit_softcapping ?? undefined,
  };
  const slides = (i: number) => (config.layer_types ? config.layer_types[i] === "sliding_attention" : i % 2 === 0);
  const window = (i: number) => (slides(i) ? (config.sliding_window ?? undefined) : undefined);
  return decoderOnly({
    ...stack,
    steadyUntil: spec.rope.steadyUntil,
    block: (x, path, i, positions, parts) =>
      sandwichBlock(x, path, norm, parts, {
        attention: (y) => selfAttention(y, `${path}.self_attn`, positions, { ...spec, window: window(i) }, parts),
        mlp: (y) => gatedMlp(y, `${path}.mlp`, mlp, parts),
      }),
    leave: (logits) => softcapped(logits, config.final_logit_softcapping),
  });
});

/** c tanh(x / c); x without a c. */
export function softcapped(x: Float, cap: number | null | undefined): Float {
  return cap == null ? x : mul(tanh(div(x, cap)), cap);
}

/** h = x + norm(attention(norm(x))), h + norm(mlp(norm(h))). */
export function sandwichBlock(
  x: Float,
  path: string,
  norm: Norm,
  parts: Parts,
  sublayers: { readonly attention: (x: Float) => Float; readonly mlp: (x: Float) => Float },
): Float {
  const normed = (y: Float, name: string) => norm(y, `${path}.${name}`, parts);
  const h = add(x, normed(sublayers.attention(normed(x, "input_layernorm")), "post_attention_layernorm"));
  return add(h, normed(sublayers.mlp(normed(h, "pre_feedforward_layernorm")), "post_feedforward_layernorm"));
}
