/** @file GPT-2 (Radford et al. 2019; reference: transformers, models/gpt2).
 *  LayerNorm before each sub-layer - learned positions - one fused projection for q, k and v - GELU - biases everywhere -
 *  weights stored [in, out] (Conv1D) - head tied to the embeddings.
 *  Published files name tensors "h.0.attn.c_attn", files saved by transformers "transformer.h.0.attn.c_attn". */

import * as z from "zod";
import { add } from "../graph/ops/elementwise.ts";
import { gather, split } from "../graph/ops/movement.ts";
import { layerNorm } from "../graph/ops/reduce.ts";
import type { Float } from "../graph/value.ts";
import { activationOf } from "./activations.ts";
import type { Parts } from "./architecture.ts";
import { splitHeads } from "./attention.ts";
import { parseConfig } from "./config.ts";
import { type ArchitectureFactory, configKeys, reading } from "./config-keys.ts";
import { decoderOnly } from "./decoder.ts";

const schema = z.object({
  vocab_size: z.int(),
  n_positions: z.int().default(1024),
  n_embd: z.int(),
  n_layer: z.int(),
  n_head: z.int(),
  n_inner: z.int().nullish(),
  activation_function: z.string().default("gelu_new"),
  layer_norm_epsilon: z.number().default(1e-5),
  resid_pdrop: z.number().default(0.1),
  scale_attn_weights: z.boolean().default(true),
  scale_attn_by_inverse_layer_idx: z.boolean().default(false),
  tie_word_embeddings: z.boolean().default(true),
});
type Gpt2Config = z.infer<typeof schema>;

export const gpt2: ArchitectureFactory = reading(
  configKeys(schema, { idle: "reorder_and_upcast_attn n_special predict_special_tokens" }),
  (raw, tensorNames) => {
    const config = parseConfig(schema, raw);
    const prefix = tensorNames.has("wte.weight") ? "" : "transformer.";
    return decoderOnly({
      vocabularySize: config.vocab_size,
      hiddenSize: config.n_embd,
      numLayers: config.n_layer,
      dropoutRate: config.resid_pdrop,
      maxPositions: config.n_positions,
      embedding: `${prefix}wte`,
      enter: (x, positions, { weights, dropout }) =>
        dropout(add(x, gather(weights(`${prefix}wpe.weight`, config.n_positions, config.n_embd), positions))),
      layer: (i) => `${prefix}h.${i}`,
      block: (x, path, i, _, parts) => {
        const h = add(x, attention(norm(x, `${path}.ln_1`, config, parts), `${path}.attn`, i, config, parts));
        return add(h, mlp(norm(h, `${path}.ln_2`, config, parts), `${path}.mlp`, config, parts));
      },
      norm: (x, parts) => norm(x, `${prefix}ln_f`, config, parts),
      tied: config.tie_word_embeddings,
    });
  },
);

function norm(x: Float, path: string, config: Gpt2Config, { weights }: Parts): Float {
  const bias = weights(`${path}.bias`, config.n_embd);
  return layerNorm(x, weights(`${path}.weight`, config.n_embd), { bias, epsilon: config.layer_norm_epsilon });
}

const conv1d = (inputs: number, outputs: number) => ({ in: inputs, out: outputs, bias: true, inByOut: true });

function attention(x: Float, path: string, i: number, config: Gpt2Config, { linear, attention, dropout }: Parts): Float {
  const { n_embd: width, n_head: heads } = config;
  const size = width / heads;
  const fused = linear(x, `${path}.c_attn`, conv1d(width, 3 * width));
  const [q, k, v] = split(fused, -1, [width, width, width]).map((part) => splitHeads(part, heads, size)) as [Float, Float, Float];
  const scale = (config.scale_attn_weights ? size ** -0.5 : 1) / (config.scale_attn_by_inverse_layer_idx ? i + 1 : 1);
  const mixed = attention(q, k, v, { path, scale, causal: true, overwritesLater: true });
  return dropout(linear(mixed, `${path}.c_proj`, conv1d(width, width)));
}

function mlp(x: Float, path: string, config: Gpt2Config, { linear, dropout }: Parts): Float {
  const inner = config.n_inner ?? 4 * config.n_embd;
  const hidden = activationOf(config.activation_function)(linear(x, `${path}.c_fc`, conv1d(config.n_embd, inner)));
  return dropout(linear(hidden, `${path}.c_proj`, conv1d(inner, config.n_embd)));
}
