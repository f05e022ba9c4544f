/** @file Qwen-7B and the other Qwen models of 2023 (Bai et al. 2023, arXiv:2309.16609; reference: modeling_qwen.py beside the
 *  published files). Qwen-7B is the base model of the Mixture-of-LoRAs paper.
 *  RMSNorm before each sub-layer - one fused projection with bias for q, k and v - mlp(x) = c_proj(w1 x * silu(w2 x)), each
 *  half as wide as `intermediate_size` says - rotary positions. Past the trained length n, for a row of L real tokens:
 *
 *      base' = base alpha^(size / (size - 2)),  alpha = max(2^ceil(log2(L / n) + 1) - 1, 1)     (dynamic NTK)
 *      q' = q max(log_n(slot + 1), 1)                                                            (log-n attention)
 *
 *  The log-n factor and the rotary positions count array slots, padding included. */

import * as z from "zod";
import { float32 } from "../base/tensor.ts";
import { add, addInt, log, max, mul, silu, toFloat } from "../graph/ops/elementwise.ts";
import { expand, split, unsqueeze } from "../graph/ops/movement.ts";
import type { Size } from "../graph/sizes.ts";
import type { Float, Int } from "../graph/value.ts";
import type { Parts } from "./architecture.ts";
import { splitHeads } from "./attention.ts";
import { parseConfig } from "./config.ts";
import { type ArchitectureFactory, configKeys, reading } from "./config-keys.ts";
import { decoderOnly, rmsNormOf } from "./decoder.ts";
import { frequenciesByLength, lengthOf, type Rope, rotated, steadyBetween } from "./rope.ts";
import { inverseFrequencies } from "./rope-scaling.ts";

// The number of tabulated steps of alpha: lengths up to 2^16 times the trained one.
const STEPS = 16;

const fields = z.object({
  vocab_size: z.int(),
  hidden_size: z.int(),
  num_hidden_layers: z.int(),
  num_attention_heads: z.int(),
  intermediate_size: z.int(),
  seq_length: z.int().default(8192),
  layer_norm_epsilon: z.number().default(1e-6),
  rotary_emb_base: z.number().default(10000),
  rotary_pct: z.number().default(1),
  attn_dropout_prob: z.number().default(0),
  use_dynamic_ntk: z.boolean().default(true),
  use_logn_attn: z.boolean().default(true),
  no_bias: z.boolean().default(true),
  tie_word_embeddings: z.boolean().default(false),
});
type QwenConfig = z.infer<typeof fields>;

/** Field names in the files of August 2023, and the current ones. */
const OLD_SPELLINGS = {
  padded_vocab_size: "vocab_size",
  n_embd: "hidden_size",
  n_layer: "num_hidden_layers",
  n_head: "num_attention_heads",
  ffn_hidden_size: "intermediate_size",
  attn_pdrop: "attn_dropout_prob",
} as const;

/** Values of fields that those files leave out. */
const OLD_DEFAULTS = { layer_norm_epsilon: 1e-5, use_dynamic_ntk: false, use_logn_attn: false };

const QWEN_IDLE =
  `${Object.keys(OLD_SPELLINGS).join(" ")} bf16 fp16 fp32 params_dtype use_cache_quantization use_cache_kernel softmax_in_fp32
emb_dropout_prob onnx_safe max_position_embeddings bias_dropout_fusion masked_softmax_fusion tokenizer_type max_window_size chat_format`.replaceAll(
    "\n",
    " ",
  );

const isHeadSize = (value: unknown, { hidden_size, n_embd, num_attention_heads, n_head }: Readonly<Record<string, unknown>>): boolean =>
  value === Number(hidden_size ?? n_embd) / Number(num_attention_heads ?? n_head);

export const qwen: ArchitectureFactory = reading(
  configKeys(fields, {
    idle: QWEN_IDLE,
    fixed: { kv_channels: isHeadSize, scale_attn_weights: [true], activation: ["swiglu"], pos_emb: ["rotary"] },
  }),
  (raw) => {
    const renamed = Object.entries(OLD_SPELLINGS).flatMap(([old, now]) => (raw[old] == null ? [] : [[now, raw[old]]]));
    const defaults = raw.n_embd == null ? {} : OLD_DEFAULTS;
    const config = parseConfig(fields, { ...defaults, ...raw, ...Object.fromEntries(renamed) });
    const rms = rmsNormOf(config.layer_norm_epsilon);
    const rope = ropeOf(config);
    return decoderOnly({
      vocabularySize: config.vocab_size,
      hiddenSize: config.hidden_size,
      numLayers: config.num_hidden_layers,
      dropoutRate: config.attn_dropout_prob,
      steadyUntil: rope.steadyUntil,
      embedding: "transformer.wte",
      layer: (i) => `transformer.h.${i}`,
      block: (x, path, _, positions, parts) => {
        const h = add(x, attention(rms(x, `${path}.ln_1`, parts), `${path}.attn`, positions, rope, config, parts));
        return add(h, mlp(rms(h, `${path}.ln_2`, parts), `${path}.mlp`, config, parts));
      },
      norm: (x, parts) => rms(x, "transformer.ln_f", parts),
      tied: config.tie_word_embeddings,
    });
  },
);

/** Frequencies for every step of alpha; each row's length selects its step. */
function ropeOf(config: QwenConfig): Rope {
  const size = Math.trunc((config.hidden_size / config.num_attention_heads) * config.rotary_pct);
  const steps = Array.from({ length: config.use_dynamic_ntk ? STEPS + 1 : 1 }, (_, step) => step);
  const table = steps.map((step) => inverseFrequencies(config.rotary_emb_base * (2 ** (step + 1) - 1) ** (size / (size - 2)), size));
  const bounds = steps.slice(1).map((step) => config.seq_length * 2 ** (step - 1));
  return {
    size,
    magnitude: 1,
    frequencies: (positions) =>
      bounds.length > 0
        ? frequenciesByLength(table, bounds, lengthOf(positions, "row"))
        : positions.graph.constant(float32([size / 2], table[0]!)),
    steadyUntil: steadyBetween(bounds),
  };
}

/** log_n(slot + 1), at least 1: [batch, 1, sequence, 1] */
function lognFactor(slots: Int, trained: number): Float {
  return max(mul(log(toFloat(addInt(unsqueeze(slots, 1, 3), 1))), 1 / Math.log(trained)), 1);
}

function attention(x: Float, path: string, positions: Int, rope: Rope, config: QwenConfig, parts: Parts): Float {
  const { hidden_size: width, num_attention_heads: heads, no_bias } = config;
  const size = width / heads;
  const fused = parts.linear(x, `${path}.c_attn`, { in: width, out: 3 * width, bias: true });
  const [q, k, v] = split(fused, -1, [width, width, width]).map((part) => splitHeads(part, heads, size)) as [Float, Float, Float];
  const slots = parts.slots ? expand(parts.slots(), ...(positions.shape as [Size, Size])) : positions;
  const turned = (x: Float) => rotated(x, slots, { ...rope, frequencies: () => rope.frequencies(positions) });
  const query = config.use_logn_attn ? mul(turned(q), lognFactor(slots, config.seq_length)) : turned(q);
  const mixed = parts.attention(query, turned(k), v, { path, scale: size ** -0.5, causal: true, overwritesLater: true });
  return parts.linear(mixed, `${path}.c_proj`, { in: width, out: width, bias: !no_bias });
}

function mlp(x: Float, path: string, { hidden_size: width, intermediate_size, no_bias }: QwenConfig, { linear }: Parts): Float {
  const inner = intermediate_size / 2;
  const inward = { in: width, out: inner, bias: !no_bias };
  const hidden = mul(linear(x, `${path}.w1`, inward), silu(linear(x, `${path}.w2`, inward)));
  return linear(hidden, `${path}.c_proj`, { in: inner, out: width, bias: !no_bias });
}
