/** @file BERT as a sentence encoder (Devlin et al. 2018, arXiv:1810.04805; Reimers and Gurevych 2019, arXiv:1908.10084;
 *  reference: transformers, models/bert/modeling_bert.py). LayerNorm after each sub-layer - learned positions - token types,
 *  all 0 here - full attention - exact GELU - biases everywhere.
 *
 *      embedding = m / |m|,   m = mean of the last hidden states over the real tokens, [CLS] and [SEP] included
 *
 *  It embeds texts for retrieval. It is not a base model, so it has no linear seam. */

import * as z from "zod";
import { int64 } from "../base/tensor.ts";
import { add, div, max, mul, sqrt, square, toFloat } from "../graph/ops/elementwise.ts";
import { gather, range, unsqueeze } from "../graph/ops/movement.ts";
import { layerNorm, reduceSum } from "../graph/ops/reduce.ts";
import type { Float, Graph, Int } from "../graph/value.ts";
import { activationOf } from "./activations.ts";
import { fullAttention, splitHeads } from "./attention.ts";
import { parseConfig } from "./config.ts";
import { baseLinear, type Linear, type Weights } from "./linear.ts";

const schema = z.object({
  model_type: z.literal("bert"),
  vocab_size: z.int(),
  hidden_size: z.int(),
  num_hidden_layers: z.int(),
  num_attention_heads: z.int(),
  intermediate_size: z.int(),
  hidden_act: z.string().default("gelu"),
  layer_norm_eps: z.number().default(1e-12),
  max_position_embeddings: z.int().default(512),
  type_vocab_size: z.int().default(2),
  position_embedding_type: z.literal("absolute").default("absolute"),
});

export interface Bert {
  readonly hiddenSize: number;
  readonly maxPositions: number;
  readonly vocabularySize: number;
  /** ids, valid: int64 [batch, sequence] -> the last hidden states, [batch, sequence, hidden]. */
  encode(ids: Int, valid: Int, weights: Weights, observe?: (name: string, state: Float) => void): Float;
}

/** The encoder that a checkpoint's config.json describes. */
export function bert(raw: Readonly<Record<string, unknown>>, tensorNames: ReadonlySet<string>): Bert {
  const config = parseConfig(schema, raw);
  const prefix = tensorNames.has("embeddings.word_embeddings.weight") ? "" : "bert.";
  const { hidden_size: hidden, max_position_embeddings: maxPositions } = config;
  const norm = (x: Float, path: string, weights: Weights) =>
    layerNorm(x, weights(`${path}.weight`, hidden), { bias: weights(`${path}.bias`, hidden), epsilon: config.layer_norm_eps });
  const embed = (ids: Int, weights: Weights) => {
    const { graph } = ids;
    const table = (name: string, rows: number) => weights(`${prefix}embeddings.${name}_embeddings.weight`, rows, hidden);
    const types = gather(table("token_type", config.type_vocab_size), graph.constant(int64([1, 1])));
    const positions = gather(table("position", maxPositions), unsqueeze(range(graph, ids.shape[1]!), 0));
    return norm(add(add(gather(table("word", config.vocab_size), ids), types), positions), `${prefix}embeddings.LayerNorm`, weights);
  };
  const block = (x: Float, path: string, valid: Int, linear: Linear, weights: Weights) => {
    const size = hidden / config.num_attention_heads;
    const dense = (input: Float, name: string, inputs = hidden, out = hidden) =>
      linear(input, `${path}.${name}`, { in: inputs, out, bias: true });
    const heads = (name: string) => splitHeads(dense(x, `attention.self.${name}`), config.num_attention_heads, size);
    const positions = unsqueeze(range(x.graph, x.shape[1]!), 0);
    const attend = fullAttention({ positions, valid });
    const mixed = attend(heads("query"), heads("key"), heads("value"), { path, scale: size ** -0.5, causal: false });
    const h = norm(add(x, dense(mixed, "attention.output.dense")), `${path}.attention.output.LayerNorm`, weights);
    const inner = activationOf(config.hidden_act)(dense(h, "intermediate.dense", hidden, config.intermediate_size));
    return norm(add(h, dense(inner, "output.dense", config.intermediate_size)), `${path}.output.LayerNorm`, weights);
  };
  return {
    hiddenSize: hidden,
    maxPositions,
    vocabularySize: config.vocab_size,
    encode: (ids, valid, weights, observe) => {
      const linear = baseLinear(weights);
      let x = embed(ids, weights);
      observe?.("embeddings", x);
      for (let i = 0; i < config.num_hidden_layers; i++) {
        x = block(x, `${prefix}encoder.layer.${i}`, valid, linear, weights);
        observe?.(`layer.${i}`, x);
      }
      return x;
    },
  };
}

/** The mean over real tokens, of unit length. states: [batch, sequence, hidden], valid: int64 [batch, sequence] -> [batch, hidden] */
export function pooledUnit(states: Float, valid: Int): Float {
  const mask = unsqueeze(toFloat(valid), 2);
  const mean = div(reduceSum(mul(states, mask), { axes: [1], keep: false }), max(reduceSum(mask, { axes: [1], keep: false }), 1e-9));
  return div(mean, max(sqrt(reduceSum(square(mean))), 1e-12));
}

/** The graph's feeds: int64 [batch, sequence]. */
export function textInputs(graph: Graph): { ids: Int; valid: Int } {
  return { ids: graph.int("input_ids", "batch", "sequence"), valid: graph.int("attention_mask", "batch", "sequence") };
}
