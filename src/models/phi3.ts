/** @file Phi-3 and Phi-4 (Abdin et al. 2024, arXiv:2404.14219; reference: transformers, models/phi3): Llama with
 *  one fused projection for q, k and v and one for gate and up - longrope for long texts - a sliding window and partial
 *  rotary positions if the configuration gives them. */

import * as z from "zod";
import { mul } from "../graph/ops/elementwise.ts";
import { split } from "../graph/ops/movement.ts";
import type { Float, Int } from "../graph/value.ts";
import { type Activation, activationOf } from "./activations.ts";
import type { Parts } from "./architecture.ts";
import { splitHeads } from "./attention.ts";
import { parseConfig } from "./config.ts";
import { type ArchitectureFactory, configKeys, reading } from "./config-keys.ts";
import { decoderFields, decoderOnly, type Heads, headsOf, preNormBlock, rmsNormOf } from "./decoder.ts";
import { type Rope, ropeOf, rotated } from "./rope.ts";

const schema = z.object({
  ...decoderFields,
  rms_norm_eps: z.number().default(1e-5),
  max_position_embeddings: z.int().default(4096),
  sliding_window: z.int().nullish(),
  resid_pdrop: z.number().default(0),
});

export const phi3: ArchitectureFactory = reading(configKeys(schema), (raw) => {
  const config = parseConfig(schema, raw);
  const heads = headsOf(config);
  const { hiddenSize } = heads;
  const norm = rmsNormOf(config.rms_norm_eps);
  const spec = { ...heads, rope: ropeOf(config, heads.headSize, 4096), window: config.sliding_window ?? undefined };
  const mlpSpec = { hiddenSize, innerSize: config.intermediate_size, activation: activationOf(config.hidden_act) };
  return decoderOnly({
    vocabularySize: config.vocab_size,
    hiddenSize,
    numLayers: config.num_hidden_layers,
    dropoutRate: config.resid_pdrop,
    steadyUntil: spec.rope.steadyUntil,
    embedding: "model.embed_tokens",
    layer: (i) => `model.layers.${i}`,
    block: (x, path, _, positions, parts) =>
      preNormBlock(x, path, (y, name) => norm(y, name, parts), {
        attention: (y) => parts.dropout(attention(y, `${path}.self_attn`, positions, spec, parts)),
        mlp: (y) => parts.dropout(mlp(y, `${path}.mlp`, mlpSpec, parts)),
      }),
    norm: (x, parts) => norm(x, "model.norm", parts),
    tied: config.tie_word_embeddings,
  });
});

/** The fused projection holds all of q, then k, then v. */
function attention(x: Float, path: string, positions: Int, spec: Heads & { rope: Rope; window?: number }, parts: Parts): Float {
  const { hiddenSize, numHeads, numKvHeads, headSize, rope, window } = spec;
  const counts = [numHeads, numKvHeads, numKvHeads];
  const sizes = counts.map((heads) => heads * headSize);
  const fused = parts.linear(x, `${path}.qkv_proj`, { in: hiddenSize, out: (numHeads + 2 * numKvHeads) * headSize });
  const [q, k, v] = split(fused, -1, sizes).map((part, i) => splitHeads(part, counts[i]!, headSize)) as [Float, Float, Float];
  const mixed = parts.attention(rotated(q, positions, rope), rotated(k, positions, rope), v, {
    path,
    scale: headSize ** -0.5,
    causal: true,
    window,
  });
  return parts.linear(mixed, `${path}.o_proj`, { in: numHeads * headSize, out: hiddenSize });
}

/** The fused projection holds gate, then up. */
function mlp(
  x: Float,
  path: string,
  { hiddenSize, innerSize, activation }: { hiddenSize: number; innerSize: number; activation: Activation },
  { linear }: Parts,
): Float {
  const fused = linear(x, `${path}.gate_up_proj`, { in: hiddenSize, out: 2 * innerSize });
  const [gate, up] = split(fused, -1, [innerSize, innerSize]) as [Float, Float];
  return linear(mul(up, activation(gate)), `${path}.down_proj`, { in: innerSize, out: hiddenSize });
}
