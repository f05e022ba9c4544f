/** @file The code that decoder-only architectures share: the stack around their blocks, and the sub-layers that most of them use.
 *
 *      x = embed(ids);  x = block_i(x), i = 0, 1, ...;  logits = W_head norm(x)
 *
 *  An architecture that differs in a part has its own version of that part. */

import * as z from "zod";
import { CheckpointError } from "../base/errors.ts";
import { add, mul } from "../graph/ops/elementwise.ts";
import { rmsNorm } from "../graph/ops/reduce.ts";
import type { Float, Int } from "../graph/value.ts";
import type { Activation } from "./activations.ts";
import type { DecoderOnly, Parts } from "./architecture.ts";
import { type AttentionSpec, splitHeads } from "./attention.ts";
import { type Rope, ropeFields, rotated } from "./rope.ts";

/** The fields of config.json that Llama and similar models share. */
export const decoderFields = {
  ...ropeFields,
  vocab_size: z.int(),
  hidden_size: z.int(),
  intermediate_size: z.int(),
  num_hidden_layers: z.int(),
  num_attention_heads: z.int(),
  num_key_value_heads: z.int().nullish(),
  head_dim: z.int().nullish(),
  hidden_act: z.string().default("silu"),
  rms_norm_eps: z.number().default(1e-6),
  attention_dropout: z.number().default(0),
  tie_word_embeddings: z.boolean().default(false),
};
/** The layers with a sliding window, in files of transformers since 4.53. */
export const layerTypes = z.array(z.enum(["full_attention", "sliding_attention"])).nullish();
export type DecoderConfig = z.infer<z.ZodObject<typeof decoderFields>>;

export interface Stack
  extends Pick<DecoderOnly, "vocabularySize" | "hiddenSize" | "numLayers" | "dropoutRate" | "maxPositions" | "steadyUntil"> {
  /** The module of the token embeddings, "model.embed_tokens". */
  readonly embedding: string;
  /** Applied to the embeddings before the first block. */
  readonly enter?: (x: Float, positions: Int, parts: Parts) => Float;
  /** The path of layer i, "model.layers.0". */
  readonly layer: (i: number) => string;
  /** x: [batch, sequence, hidden], positions: int64 [batch, sequence] -> [batch, sequence, hidden] */
  readonly block: (x: Float, path: string, i: number, positions: Int, parts: Parts) => Float;
  /** The norm after the last block. */
  readonly norm: (x: Float, parts: Parts) => Float;
  /** The head's module; "lm_head" when absent. */
  readonly head?: string;
  /** The head uses the tensor of the embeddings. */
  readonly tied: boolean;
  /** Applied to the logits. */
  readonly leave?: (logits: Float) => Float;
}

/** The architecture of a stack of blocks. */
export function decoderOnly({
  embedding,
  enter,
  layer,
  block,
  norm,
  head = "lm_head",
  tied,
  leave = (logits) => logits,
  ...sizes
}: Stack): DecoderOnly {
  const { vocabularySize, hiddenSize, numLayers } = sizes;
  const projection = { in: hiddenSize, out: vocabularySize, ...(tied && { tensor: `${embedding}.weight` }) };
  return {
    kind: "decoder-only",
    ...sizes,
    decode: (ids, positions, parts) => {
      let x = parts.embedding(ids, embedding, { rows: vocabularySize, width: hiddenSize });
      if (enter) x = enter(x, positions, parts);
      parts.observe?.("embeddings", x);
      for (let i = 0; i < numLayers; i++) {
        const path = layer(i);
        parts.enterLayer?.(path, x);
        x = x.graph.scope(path, () => block(x, path, i, positions, parts));
        parts.observe?.(path, x);
      }
      return norm(x, parts);
    },
    head: (hidden, parts) => leave(parts.linear(hidden, head, projection)),
  };
}

/** A norm over the last axis whose scale is the tensor `<path>.weight`. */
export type Norm = (x: Float, path: string, parts: Parts) => Float;

export function rmsNormOf(epsilon: number): Norm {
  return (x, path, { weights }) => rmsNorm(x, weights(`${path}.weight`, x.shape.at(-1) as number), { epsilon });
}

export interface Heads {
  readonly hiddenSize: number;
  readonly numHeads: number;
  readonly numKvHeads: number;
  readonly headSize: number;
}
export function headsOf(config: DecoderConfig): Heads {
  const numHeads = config.num_attention_heads;
  const numKvHeads = config.num_key_value_heads ?? numHeads;
  if (numHeads % numKvHeads !== 0) {
    throw new CheckpointError({
      code: "checkpoint-bad-config",
      what: `${numHeads} attention heads cannot share ${numKvHeads} heads of keys and values evenly.`,
      where: "config.json: num_key_value_heads",
      fix: "Compare the file with the published checkpoint's; one that leaves the field out means what transformers' default is.",
    });
  }
  return {
    hiddenSize: config.hidden_size,
    numHeads,
    numKvHeads,
    headSize: config.head_dim ?? Math.trunc(config.hidden_size / numHeads),
  };
}

export interface SelfAttention extends Heads, Pick<AttentionSpec, "window" | "softcap"> {
  readonly rope: Rope;
  /** Factor on q kᵀ; headSize^-0.5 when absent. */
  readonly scale?: number;
  /** q, k and v have biases; the output has one. */
  readonly biases?: { readonly inward?: boolean; readonly outward?: boolean };
  /** Norms on each head of q and k, `q_norm` and `k_norm`, before the rotation. */
  readonly headNorm?: Norm;
}

/** Causal self-attention with modules q_proj, k_proj, v_proj and o_proj. x: [batch, sequence, hidden] -> the same */
export function selfAttention(x: Float, path: string, positions: Int, spec: SelfAttention, parts: Parts): Float {
  const { hiddenSize, numHeads, numKvHeads, headSize, rope, window, softcap, headNorm } = spec;
  const { linear, attention } = parts;
  const project = (name: string, heads: number) =>
    splitHeads(linear(x, `${path}.${name}`, { in: hiddenSize, out: heads * headSize, bias: !!spec.biases?.inward }), heads, headSize);
  const placed = (heads: Float, norm: string) => rotated(headNorm ? headNorm(heads, `${path}.${norm}`, parts) : heads, positions, rope);
  const q = placed(project("q_proj", numHeads), "q_norm");
  const k = placed(project("k_proj", numKvHeads), "k_norm");
  const v = project("v_proj", numKvHeads);
  const mixed = attention(q, k, v, { path, scale: spec.scale ?? headSize ** -0.5, causal: true, window, softcap });
  return linear(mixed, `${path}.o_proj`, { in: numHeads * headSize, out: hiddenSize, bias: !!spec.biases?.outward });
}

export interface GatedMlp {
  readonly hiddenSize: number;
  readonly innerSize: number;
  readonly activation: Activation;
  readonly bias?: boolean;
}

/** down(activation(gate(x)) * up(x)) (Shazeer 2020). x: [batch, sequence, hidden] -> the same */
export function gatedMlp(x: Float, path: string, { hiddenSize, innerSize, activation, bias = false }: GatedMlp, { linear }: Parts): Float {
  const inward = { in: hiddenSize, out: innerSize, bias };
  const inner = mul(activation(linear(x, `${path}.gate_proj`, inward)), linear(x, `${path}.up_proj`, inward));
  return linear(inner, `${path}.down_proj`, { in: innerSize, out: hiddenSize, bias });
}

/** h = x + attention(norm(x)), h + mlp(norm(h)): the norms come first. */
export function preNormBlock(
  x: Float,
  path: string,
  norm: (x: Float, path: string) => Float,
  sublayers: { readonly attention: (x: Float) => Float; readonly mlp: (x: Float) => Float },
): Float {
  const h = add(x, sublayers.attention(norm(x, `${path}.input_layernorm`)));
  return add(h, sublayers.mlp(norm(h, `${path}.post_attention_layernorm`)));
}
