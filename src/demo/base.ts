/** @file The demo's base model: a T5 v1.1 with 0.9 million weights that has learned the skills under their declarative names.
 *
 *  It is pre-trained here with Skein's full fine-tuning, on generated text (corpus.ts): first on single parts, then also on
 *  compounds. Attention starts with a bias: one head of the encoder prefers the previous token, one the next token, and one
 *  head of the decoder the previous token. Without this bias a model of this size needs thousands of steps to learn that an
 *  item belongs to the number before it. */

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { invariant } from "../base/errors.ts";
import { derivedSeed, type Random, seededRandom } from "../base/random.ts";
import { float32, type HostTensor } from "../base/tensor.ts";
import { writeFileAtomically } from "../checkpoint/atomic.ts";
import { saveCheckpoint } from "../checkpoint/checkpoint.ts";
import { readSafetensors } from "../checkpoint/safetensors.ts";
import { loadModel } from "../library/model.ts";
import { tracedTensors } from "../models/logits.ts";
import { t5 } from "../models/t5.ts";
import type { LoopHooks } from "../training/loop.ts";
import { trainFull } from "../training/train.ts";
import { corpus } from "./corpus.ts";
import { tokenizerConfigJson, tokenizerJson, vocabulary } from "./vocabulary.ts";

export const BASE_CONFIG = {
  architectures: ["T5ForConditionalGeneration"],
  model_type: "t5",
  d_model: 128,
  d_kv: 32,
  d_ff: 256,
  num_layers: 2,
  num_decoder_layers: 2,
  num_heads: 4,
  relative_attention_num_buckets: 32,
  relative_attention_max_distance: 128,
  dropout_rate: 0,
  layer_norm_epsilon: 1e-6,
  feed_forward_proj: "gated-gelu",
  tie_word_embeddings: false,
  decoder_start_token_id: 0,
  pad_token_id: 0,
  eos_token_id: 1,
} as const;

export interface BaseOptions {
  readonly seed?: number;
  /** Steps on single parts, then on the whole corpus. */
  readonly steps?: readonly [number, number];
  readonly hooks?: LoopHooks;
}

/** Makes the base model and its tokenizer from nothing and writes them to `out`; `work` holds what the run needs to resume. */
export async function makeBase(out: string, work: string, { seed = 1, steps = [300, 1200], hooks = {} }: BaseOptions = {}): Promise<void> {
  const config = { ...BASE_CONFIG, vocab_size: vocabulary().length };
  const [start, middle] = [join(work, "start"), join(work, "middle")];
  await mkdir(start, { recursive: true });
  await writeFileAtomically(join(start, "tokenizer.json"), JSON.stringify(tokenizerJson()));
  await writeFileAtomically(join(start, "tokenizer_config.json"), JSON.stringify(tokenizerConfigJson(), null, 2));
  await saveCheckpoint(start, { config, tensors: freshT5(config, seed) });
  const whole = [...corpus({ numExamples: 60_000, seed, split: "train" })];
  const single = whole.filter(({ input }) => !input.includes(";"));
  await pretrain(start, middle, join(work, "run-1"), single, { steps: steps[0], decay: false, seed, hooks });
  await pretrain(middle, join(work, "end"), join(work, "run-2"), whole, { steps: steps[1], decay: true, seed: seed + 1, hooks });
  const tensors = await readSafetensors(join(work, "end", "model.safetensors"));
  // This halves the file; the rounding is too small to matter.
  await saveCheckpoint(out, { config, tensors, copyFrom: start, dtype: "F16" });
}

type Pairs = readonly { readonly input: string; readonly target: string }[];
interface Phase {
  readonly steps: number;
  readonly decay: boolean;
  readonly seed: number;
  readonly hooks: LoopHooks;
}

async function pretrain(from: string, out: string, run: string, pairs: Pairs, { steps, decay, seed, hooks }: Phase): Promise<void> {
  await using model = await loadModel(from);
  const training = pairs.map(({ input, target }) => ({ kind: "pair" as const, input, target }));
  const schedule = decay ? { kind: "linear" as const, warmupRatio: 0.05 } : { kind: "constant" as const, warmupRatio: 0.2 };
  const options = { steps, batchSize: 64, microBatchSize: 64, lr: 1e-3, schedule, seed, validateEvery: 0, saveEvery: 100 };
  await trainFull({ model, tokenizer: await model.tokenizer(), training, run, hooks, out, options });
}

/** T5's own initialization (Mesh TensorFlow's, as in transformers), with the bias described above. */
export function freshT5(config: typeof BASE_CONFIG & { vocab_size: number }, seed: number): Map<string, HostTensor<"float32">> {
  const { d_model, d_kv, d_ff, num_heads } = config;
  const deviations: readonly [RegExp, number][] = [
    [/\.q\.weight$/, (d_model * d_kv) ** -0.5],
    [/\.[kv]\.weight$/, d_model ** -0.5],
    [/\.o\.weight$/, (num_heads * d_kv) ** -0.5],
    [/\.wi_[01]\.weight$/, d_model ** -0.5],
    [/\.wo\.weight$/, d_ff ** -0.5],
    [/relative_attention_bias\.weight$/, d_model ** -0.5],
    [/^(shared|lm_head)\.weight$/, 1],
  ];
  const tensors = new Map<string, HostTensor<"float32">>();
  for (const [name, shape] of tracedTensors(t5(config, new Set()))) {
    const random = seededRandom(derivedSeed(seed, name));
    const deviation = deviations.find(([pattern]) => pattern.test(name))?.[1];
    tensors.set(name, deviation === undefined ? ones(shape) : normal(shape, deviation, random));
  }
  lean(tensors, "encoder", [1, 0], config.num_heads); // head 0 prefers the previous token: bucket 1
  lean(tensors, "encoder", [17, 1], config.num_heads); // head 1 prefers the next token: bucket 16 + 1
  lean(tensors, "decoder", [1, 0], config.num_heads);
  return tensors;
}

const LEAN = 5;
function lean(
  tensors: ReadonlyMap<string, HostTensor<"float32">>,
  stack: string,
  [bucket, head]: readonly [number, number],
  heads: number,
): void {
  const table = tensors.get(`${stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight`);
  invariant(table, "the first layer holds the stack's position table");
  table.data[bucket * heads + head] = LEAN;
}

function ones(shape: readonly number[]): HostTensor<"float32"> {
  const tensor = float32(shape);
  tensor.data.fill(1);
  return tensor;
}
function normal(shape: readonly number[], deviation: number, random: Random): HostTensor<"float32"> {
  const tensor = float32(shape);
  tensor.data.forEach((_, i) => {
    tensor.data[i] = deviation * random.normal();
  });
  return tensor;
}
