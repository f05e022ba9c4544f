/** @file A Llama in float64, written from the paper and transformers' code, one row of a batch at a time. It is slow and shares no code
 *  with src/; tests compare its results with those of the graphs. */

import type { HostTensor } from "../../src/base/tensor.ts";

export type Vector = readonly number[];
/** One vector per token. */
export type Rows = readonly Vector[];
/** Computes the output rows of a projection for these input rows; `base` is the projection itself. */
export type Project = (x: Rows, module: string, base: (x: Rows) => Rows) => Rows;

export interface LlamaConfig {
  readonly num_attention_heads: number;
  readonly num_key_value_heads: number;
  readonly num_hidden_layers: number;
  readonly rms_norm_eps: number;
  readonly rope_theta: number;
}

export const dot = (a: Vector, b: Vector): number => a.reduce((sum, value, i) => sum + value * b[i]!, 0);
export const plus = (a: Vector, b: Vector, factor = 1): number[] => a.map((value, i) => value + factor * b[i]!);
export const scaledBy = (a: Vector, factor: number): number[] => a.map((value) => value * factor);

/** The rows of a matrix. */
export function rowsOf({ shape: [count = 0, width = 0], data }: HostTensor): Rows {
  return Array.from({ length: count }, (_, i) => Array.from({ length: width }, (_, j) => Number(data[i * width + j])));
}

/** M v */
export const times = (matrix: Rows, v: Vector): number[] => matrix.map((row) => dot(row, v));

export function softmax(scores: Vector): number[] {
  const top = Math.max(...scores);
  const powers = scores.map((score) => Math.exp(score - top));
  const sum = powers.reduce((total, value) => total + value, 0);
  return scaledBy(powers, 1 / sum);
}

/** Logits of every slot. `mask`: 1 for real tokens; padding has position 1, as in transformers' generate(). */
export function llamaLogits(
  tensors: ReadonlyMap<string, HostTensor>,
  config: LlamaConfig,
  { ids, mask }: { readonly ids: readonly number[]; readonly mask: readonly number[] },
  project: Project = (x, _, base) => base(x),
): Rows {
  const matrix = (name: string) => rowsOf(tensors.get(name)!);
  const scale = (name: string) => Array.from(tensors.get(name)!.data, Number);
  const linear = (x: Rows, module: string) => {
    const weight = matrix(`${module}.weight`);
    return project(x, module, (input) => input.map((row) => times(weight, row)));
  };
  const norm = (x: Rows, name: string) => {
    const weight = scale(name);
    return x.map((row) => {
      const factor = 1 / Math.sqrt(dot(row, row) / row.length + config.rms_norm_eps);
      return row.map((value, i) => value * factor * weight[i]!);
    });
  };
  const places = mask.map((real, i) => (real ? mask.slice(0, i).reduce((sum, bit) => sum + bit, 0) : 1));
  const embeddings = matrix("model.embed_tokens.weight");
  let x: Rows = ids.map((id) => embeddings[id]!);
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const path = `model.layers.${layer}`;
    const h = norm(x, `${path}.input_layernorm.weight`);
    const [q, k, v] = ["q", "k", "v"].map((name) => linear(h, `${path}.self_attn.${name}_proj`)) as [Rows, Rows, Rows];
    const attended = linear(attention(q, k, v, { mask, places, config }), `${path}.self_attn.o_proj`);
    x = x.map((row, i) => plus(row, attended[i]!));
    const y = norm(x, `${path}.post_attention_layernorm.weight`);
    const [gate, up] = ["gate", "up"].map((name) => linear(y, `${path}.mlp.${name}_proj`)) as [Rows, Rows];
    const hidden = gate.map((row, i) => row.map((value, j) => (value / (1 + Math.exp(-value))) * up[i]![j]!));
    const down = linear(hidden, `${path}.mlp.down_proj`);
    x = x.map((row, i) => plus(row, down[i]!));
  }
  const head = matrix("lm_head.weight");
  return norm(x, "model.norm.weight").map((row) => times(head, row));
}

interface Places {
  readonly mask: readonly number[];
  readonly places: readonly number[];
  readonly config: LlamaConfig;
}

function attention(q: Rows, k: Rows, v: Rows, { mask, places, config }: Places): Rows {
  const heads = config.num_attention_heads;
  const size = q[0]!.length / heads;
  const shared = heads / config.num_key_value_heads;
  const head = (row: Vector, h: number) => row.slice(h * size, (h + 1) * size);
  const turned = (row: Vector, h: number, place: number) => rotated(head(row, h), place, config.rope_theta);
  return q.map((row, i) =>
    Array.from({ length: heads }, (_, h) => {
      const own = Math.floor(h / shared);
      const seen = mask.flatMap((real, j) => (real && j <= i ? [j] : []));
      const weights = softmax(seen.map((j) => dot(turned(row, h, places[i]!), turned(k[j]!, own, places[j]!)) / Math.sqrt(size)));
      return seen.reduce<number[]>((sum, j, at) => plus(sum, head(v[j]!, own), weights[at]), Array<number>(size).fill(0));
    }).flat(),
  );
}

function rotated(vector: Vector, place: number, theta: number): number[] {
  const half = vector.length / 2;
  return vector.map((value, i) => {
    const angle = place * theta ** ((-2 * (i % half)) / vector.length);
    const other = i < half ? -vector[i + half]! : vector[i - half]!;
    return value * Math.cos(angle) + other * Math.sin(angle);
  });
}
