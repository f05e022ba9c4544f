/** @file T5 (Raffel et al. 2020, arXiv:1910.10683; reference: transformers, models/t5/modeling_t5.py), v1.0, v1.1 and mT5.
 *  RMSNorm before each sub-layer - relative position buckets, shared by the layers of a stack - no biases, no scaling
 *  of the scores - ReLU or gated GELU - head tied to the embeddings and scaled by hidden^-0.5 (v1.0), or untied (v1.1). */

import * as z from "zod";
import { CheckpointError } from "../base/errors.ts";
import { int64 } from "../base/tensor.ts";
import { add, addInt, gelu, geluTanh, maxInt, minInt, mul, relu, silu, subInt } from "../graph/ops/elementwise.ts";
import { gather, transpose, unsqueeze } from "../graph/ops/movement.ts";
import { rmsNorm } from "../graph/ops/reduce.ts";
import type { Float, Int } from "../graph/value.ts";
import type { KeysAndValues, Parts } from "./architecture.ts";
import { type AttentionSpec, splitHeads } from "./attention.ts";
import { parseConfig } from "./config.ts";
import { type ArchitectureFactory, configKeys, reading } from "./config-keys.ts";
import type { Weights } from "./linear.ts";

const ACTIVATIONS = { relu, gelu, gelu_new: geluTanh, silu } as const;

const schema = z.object({
  vocab_size: z.int(),
  d_model: z.int(),
  d_kv: z.int(),
  d_ff: z.int(),
  num_layers: z.int(),
  num_decoder_layers: z.int().nullish(),
  num_heads: z.int(),
  relative_attention_num_buckets: z.int().default(32),
  relative_attention_max_distance: z.int().default(128),
  dropout_rate: z.number().default(0.1),
  layer_norm_epsilon: z.number().default(1e-6),
  feed_forward_proj: z.string().default("relu"),
  tie_word_embeddings: z.boolean().default(true),
  decoder_start_token_id: z.int().nullish(),
  pad_token_id: z.int().nullish(),
});

interface T5Config extends z.infer<typeof schema> {
  readonly gated: boolean;
  readonly activation: (x: Float) => Float;
}
type Stack = "encoder" | "decoder";

type Raw = Readonly<Record<string, unknown>>;

// transformers also writes the value that it derived from feed_forward_proj, and uses that value when it reads the file again.
const isGated = (value: unknown, { feed_forward_proj: form = "relu" }: Raw): boolean => value === String(form).startsWith("gated-");
const isActivation = (value: unknown, { feed_forward_proj: form = "relu" }: Raw): boolean => {
  const name = String(form).replace("gated-", "");
  return value === name || (form === "gated-gelu" && value === "gelu_new");
};
const isTied = (value: unknown, { tie_word_embeddings: tied = true }: Raw): boolean => value === tied;

export const t5: ArchitectureFactory = reading(
  configKeys(schema, { fixed: { dense_act_fn: isActivation, is_gated_act: isGated, scale_decoder_outputs: isTied } }),
  (raw, tensorNames) => {
    const config = withActivation(parseConfig(schema, raw));
    const numDecoderLayers = config.num_decoder_layers ?? config.num_layers;
    // Old exports have the shared embedding only under the name of one of its users.
    const tensor =
      ["shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"].find((name) => tensorNames.has(name)) ??
      "shared.weight";
    const table = { rows: config.vocab_size, width: config.d_model, tensor };
    const embed = (ids: Int, stack: Stack, { embedding, dropout }: Parts) => dropout(embedding(ids, `${stack}.embed_tokens`, table));
    const head = { in: config.d_model, out: config.vocab_size, ...(config.tie_word_embeddings && { tensor }) };
    return {
      kind: "encoder-decoder",
      vocabularySize: config.vocab_size,
      hiddenSize: config.d_model,
      numLayers: config.num_layers,
      numDecoderLayers,
      dropoutRate: config.dropout_rate,
      decoderStartId: config.decoder_start_token_id ?? config.pad_token_id ?? 0,
      encode: (ids, parts) => {
        let x = embed(ids, "encoder", parts);
        parts.observe?.("encoder.embeddings", x);
        for (let i = 0; i < config.num_layers; i++) x = encoderBlock(x, i, config, parts);
        return parts.dropout(norm(x, "encoder.final_layer_norm", config, parts));
      },
      crossKeysAndValues: (encoded, parts) =>
        Array.from({ length: numDecoderLayers }, (_, i) => crossKeysAndValues(encoded, i, config, parts)),
      decode: (ids, cross, parts) => {
        let x = embed(ids, "decoder", parts);
        parts.observe?.("decoder.embeddings", x);
        cross.forEach((keysAndValues, i) => {
          x = decoderBlock(x, i, keysAndValues, config, parts);
        });
        return parts.dropout(norm(x, "decoder.final_layer_norm", config, parts));
      },
      head: (hidden, { linear }) => linear(config.tie_word_embeddings ? mul(hidden, config.d_model ** -0.5) : hidden, "lm_head", head),
    };
  },
);

function withActivation(config: z.infer<typeof schema>): T5Config {
  const { feed_forward_proj: form } = config;
  const gated = form.startsWith("gated-");
  // Hugging Face reads "gated-gelu" as the tanh form.
  const name = form === "gated-gelu" ? "gelu_new" : form.replace("gated-", "");
  const activation = ACTIVATIONS[name as keyof typeof ACTIVATIONS];
  if (!activation) {
    throw new CheckpointError({
      code: "checkpoint-setting",
      data: { got: form, known: Object.keys(ACTIVATIONS) },
      what: `T5 with feed_forward_proj "${form}" is not supported.`,
      where: "config.json",
      fix: `Supported: ${Object.keys(ACTIVATIONS).join(", ")}, each also as gated-.`,
    });
  }
  return { ...config, gated, activation };
}

function norm(x: Float, path: string, config: T5Config, { weights }: Parts): Float {
  return rmsNorm(x, weights(`${path}.weight`, config.d_model), { epsilon: config.layer_norm_epsilon });
}

function encoderBlock(x: Float, i: number, config: T5Config, parts: Parts): Float {
  const path = `encoder.block.${i}`;
  parts.enterLayer?.(path, x);
  return x.graph.scope(path, () => {
    const attended = add(x, selfAttention(norm(x, `${path}.layer.0.layer_norm`, config, parts), path, "encoder", config, parts));
    const out = add(
      attended,
      feedForward(norm(attended, `${path}.layer.1.layer_norm`, config, parts), `${path}.layer.1.DenseReluDense`, config, parts),
    );
    parts.observe?.(path, out);
    return out;
  });
}

function decoderBlock(x: Float, i: number, cross: KeysAndValues, config: T5Config, parts: Parts): Float {
  const path = `decoder.block.${i}`;
  parts.enterLayer?.(path, x);
  return x.graph.scope(path, () => {
    const attended = add(x, selfAttention(norm(x, `${path}.layer.0.layer_norm`, config, parts), path, "decoder", config, parts));
    const informed = add(attended, crossAttention(norm(attended, `${path}.layer.1.layer_norm`, config, parts), path, cross, config, parts));
    const out = add(
      informed,
      feedForward(norm(informed, `${path}.layer.2.layer_norm`, config, parts), `${path}.layer.2.DenseReluDense`, config, parts),
    );
    parts.observe?.(path, out);
    return out;
  });
}

const sizes = ({ d_model, num_heads, d_kv }: T5Config) => ({
  inward: { in: d_model, out: num_heads * d_kv },
  outward: { in: num_heads * d_kv, out: d_model },
});

function selfAttention(x: Float, block: string, stack: Stack, config: T5Config, { linear, attention, weights, dropout }: Parts): Float {
  const path = `${block}.layer.0.SelfAttention`;
  const { inward, outward } = sizes(config);
  const project = (name: string) => splitHeads(linear(x, `${path}.${name}`, inward), config.num_heads, config.d_kv);
  const spec: AttentionSpec = {
    path,
    scale: 1,
    causal: stack === "decoder",
    bias: (queries, keys) => relativeBias(queries, keys, stack, config, weights),
  };
  return dropout(linear(attention(project("q"), project("k"), project("v"), spec), `${path}.o`, outward));
}

function crossKeysAndValues(encoded: Float, i: number, config: T5Config, { linear }: Parts): KeysAndValues {
  const path = `decoder.block.${i}.layer.1.EncDecAttention`;
  const project = (name: string) => splitHeads(linear(encoded, `${path}.${name}`, sizes(config).inward), config.num_heads, config.d_kv);
  return { keys: project("k"), values: project("v") };
}

function crossAttention(
  x: Float,
  block: string,
  { keys, values }: KeysAndValues,
  config: T5Config,
  { linear, attention, dropout }: Parts,
): Float {
  const path = `${block}.layer.1.EncDecAttention`;
  const { inward, outward } = sizes(config);
  const q = splitHeads(linear(x, `${path}.q`, inward), config.num_heads, config.d_kv);
  return dropout(linear(attention(q, keys, values, { path, scale: 1, causal: false, cross: true }), `${path}.o`, outward));
}

function feedForward(x: Float, path: string, config: T5Config, { linear, dropout }: Parts): Float {
  const [inward, outward] = [
    { in: config.d_model, out: config.d_ff },
    { in: config.d_ff, out: config.d_model },
  ];
  const hidden = config.gated
    ? mul(config.activation(linear(x, `${path}.wi_0`, inward)), linear(x, `${path}.wi_1`, inward))
    : config.activation(linear(x, `${path}.wi`, inward));
  return dropout(linear(dropout(hidden), `${path}.wo`, outward));
}

/** The bias of each head for each pair: [batch or 1, heads, queries, keys]. All layers of a stack use layer 0's table. */
function relativeBias(queries: Int, keys: Int, stack: Stack, config: T5Config, weights: Weights): Float {
  const { relative_attention_num_buckets: buckets, relative_attention_max_distance: limit, num_heads: heads } = config;
  const table = weights(`${stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight`, buckets, heads);
  const lookup = queries.graph.constant(
    int64(
      [2 * limit + 1],
      Array.from({ length: 2 * limit + 1 }, (_, i) => bucketOf(i - limit, stack === "encoder", buckets, limit)),
    ),
  );
  const distance = subInt(unsqueeze(keys, 1), unsqueeze(queries, 2));
  const clamped = minInt(maxInt(distance, -limit), limit);
  return transpose(gather(table, gather(lookup, addInt(clamped, limit))), [0, 3, 1, 2]);
}

/** The bucket of key position minus query position (transformers' _relative_position_bucket, in its float32). */
export function bucketOf(distance: number, bidirectional: boolean, numBuckets: number, maxDistance: number): number {
  const half = bidirectional ? numBuckets / 2 : numBuckets;
  const offset = bidirectional && distance > 0 ? half : 0;
  const n = bidirectional ? Math.abs(distance) : Math.max(-distance, 0);
  const exact = Math.floor(half / 2);
  if (n < exact) return offset + n;
  const f = Math.fround;
  const large = f(f(f(Math.log(f(n / exact))) / f(Math.log(maxDistance / exact))) * (half - exact));
  return offset + Math.min(exact + Math.trunc(large), half - 1);
}
