/** @file Gemma 3, text (Kamath et al. 2025, arXiv:2503.19786; reference: transformers, models/gemma3): Gemma 2 with
 *  norms on each head of q and k instead of softcaps - five layers with a sliding window, then one without - rotary positions
 *  with base 10,000 in layers with a window, and with a larger, possibly scaled, base in the others.
 *  Of a `gemma3` checkpoint with a vision tower, only the text part is used. */

import * as z from "zod";
import { parseConfig } from "./config.ts";
import { type ArchitectureFactory, configKeys, reading } from "./config-keys.ts";
import { decoderOnly, gatedMlp, layerTypes, selfAttention } from "./decoder.ts";
import { gemmaFields, gemmaFixed, gemmaParts } from "./gemma.ts";
import { sandwichBlock, softcapped } from "./gemma2.ts";
import { type Rope, ropeOf } from "./rope.ts";

const anyRecord = z.record(z.string(), z.unknown());
const schema = z.object({
  ...gemmaFields,
  // Published files leave out values that equal the 4B model's.
  vocab_size: z.int().default(262208),
  num_attention_heads: z.int().default(8),
  num_key_value_heads: z.int().nullish().default(4),
  max_position_embeddings: z.int().default(131072),
  query_pre_attn_scalar: z.number().default(256),
  sliding_window: z.int().nullish().default(4096),
  sliding_window_pattern: z.int().nullish(),
  _sliding_window_pattern: z.int().nullish(),
  layer_types: layerTypes,
  rope_theta: z.number().default(1_000_000),
  rope_local_base_freq: z.number().default(10000),
  final_logit_softcapping: z.number().nullish(),
  use_bidirectional_attention: z.literal(false, "only false is supported: with true the model embeds texts").nullish(),
});
/** The other keys of a model with a vision tower. */
const GEMMA3_IDLE =
  "vision_config mm_tokens_per_image boi_token_index eoi_token_index image_token_index boi_token_id eoi_token_id image_token_id tie_word_embeddings";
type Gemma3Config = z.infer<typeof schema>;

export const gemma3: ArchitectureFactory = reading(
  configKeys(schema, { idle: GEMMA3_IDLE, fixed: gemmaFixed, nested: "text_config" }),
  (raw, tensorNames) => {
    const config = parseConfig(schema, raw.text_config ? { model_type: raw.model_type, ...anyRecord.parse(raw.text_config) } : raw);
    const { attention, mlp, norm, stack } = gemmaParts(config, namesIn(tensorNames));
    const ropes = ropesOf(config, attention.headSize);
    const pattern = config.sliding_window_pattern ?? config._sliding_window_pattern ?? 6;
    const slides = (i: number) => (config.layer_types ? config.layer_types[i] === "sliding_attention" : (i + 1) % pattern !== 0);
    const ofLayer = (i: number) => (slides(i) ? { rope: ropes.local, window: config.sliding_window ?? undefined } : { rope: ropes.global });
    const spec = { ...attention, scale: config.query_pre_attn_scalar ** -0.5, headNorm: norm };
    return decoderOnly({
      ...stack,
      steadyUntil: (length) =>
        Math.min(...[ropes.local, ropes.global].map((rope) => rope.steadyUntil?.(length) ?? Number.POSITIVE_INFINITY)),
      block: (x, path, i, positions, parts) =>
        sandwichBlock(x, path, norm, parts, {
          attention: (y) => selfAttention(y, `${path}.self_attn`, positions, { ...spec, ...ofLayer(i) }, parts),
          mlp: (y) => gatedMlp(y, `${path}.mlp`, mlp, parts),
        }),
      leave: (logits) => softcapped(logits, config.final_logit_softcapping),
    });
  },
);

/** Files of transformers 5 keep both under `rope_parameters`, by the kind of layer. */
function ropesOf(config: Gemma3Config, headSize: number): { local: Rope; global: Rope } {
  const { rope_parameters: byLayer, ...rest } = config;
  const one = (kind: string, old: Partial<Gemma3Config>) => {
    const settings = byLayer?.[kind];
    return ropeOf({ ...rest, ...old, ...(settings ? { rope_parameters: anyRecord.parse(settings) } : {}) }, headSize);
  };
  return {
    global: one("full_attention", {}),
    local: one("sliding_attention", { rope_theta: config.rope_local_base_freq, rope_scaling: null }),
  };
}

/** The prefix of the text model's tensors: without a vision tower, or with one in either of two spellings. */
function namesIn(tensorNames: ReadonlySet<string>): { prefix: string; head: string } {
  if (tensorNames.has("language_model.model.embed_tokens.weight")) {
    return { prefix: "language_model.model.", head: "language_model.lm_head" };
  }
  const prefix = tensorNames.has("model.language_model.embed_tokens.weight") ? "model.language_model." : "model.";
  return { prefix, head: "lm_head" };
}
