/** @file The base model of the Mixture-of-LoRAs demo: a decoder-only Llama with 0.8 million weights. Like the T5 (base.ts), it is trained
 *  on the generated text with Skein's full fine-tuning, first on single parts, then also on compounds. */

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { derivedSeed, seededRandom } from "../base/random.ts";
import { float32, type HostTensor } from "../base/tensor.ts";
import { writeFileAtomically } from "../checkpoint/atomic.ts";
import { saveCheckpoint } from "../checkpoint/checkpoint.ts";
import { readSafetensors } from "../checkpoint/safetensors.ts";
import { loadModel } from "../library/model.ts";
import { llama } from "../models/llama.ts";
import { tracedTensors } from "../models/logits.ts";
import { trainFull } from "../training/train.ts";
import type { BaseOptions } from "./base.ts";
import { corpus } from "./corpus.ts";
import { tokenizerConfigJson, tokenizerJson, vocabulary } from "./vocabulary.ts";

export const MOA_BASE_CONFIG = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  hidden_size: 128,
  intermediate_size: 256,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  num_key_value_heads: 4,
  hidden_act: "silu",
  rms_norm_eps: 1e-6,
  rope_theta: 10000,
  max_position_embeddings: 512,
  tie_word_embeddings: true,
  pad_token_id: 0,
  eos_token_id: 1,
} as const;

/** Makes the base model and its tokenizer from nothing and writes them to `out`; `work` holds what the run needs to resume. */
export async function makeMoaBase(
  out: string,
  work: string,
  { seed = 1, steps = [400, 1200], hooks = {} }: BaseOptions = {},
): Promise<void> {
  const config = { ...MOA_BASE_CONFIG, vocab_size: vocabulary().length };
  const [start, middle, end] = [join(work, "start"), join(work, "middle"), join(work, "end")];
  await mkdir(start, { recursive: true });
  await writeFileAtomically(join(start, "tokenizer.json"), JSON.stringify(tokenizerJson()));
  await writeFileAtomically(join(start, "tokenizer_config.json"), JSON.stringify(tokenizerConfigJson(), null, 2));
  await saveCheckpoint(start, { config, tensors: freshLlama(config, seed) });
  const whole = [...corpus({ numExamples: 60_000, seed, split: "train" })].map((pair) => ({ kind: "pair" as const, ...pair }));
  const phases = [
    { from: start, to: middle, training: whole.filter(({ input }) => !input.includes(";")), steps: steps[0], kind: "constant" as const },
    { from: middle, to: end, training: whole, steps: steps[1], kind: "linear" as const },
  ];
  for (const [i, { from, to, training, steps, kind }] of phases.entries()) {
    await using model = await loadModel(from);
    const schedule = { kind, warmupRatio: i === 0 ? 0.2 : 0.05 };
    const options = { steps, batchSize: 64, microBatchSize: 64, lr: 2e-3, schedule, seed: seed + i, validateEvery: 0, saveEvery: 200 };
    await trainFull({ model, tokenizer: await model.tokenizer(), training, run: join(work, `run-${i + 1}`), hooks, out: to, options });
  }
  const tensors = await readSafetensors(join(end, "model.safetensors"));
  await saveCheckpoint(out, { config, tensors, copyFrom: start, dtype: "F16" });
}

/** The first values of a Llama: N(0, 1 / in) for projections, N(0, 0.02) for embeddings, 1 for norms. */
export function freshLlama(config: Readonly<Record<string, unknown>>, seed: number): Map<string, HostTensor<"float32">> {
  const tensors = new Map<string, HostTensor<"float32">>();
  for (const [name, shape] of tracedTensors(llama(config, new Set()))) {
    const random = seededRandom(derivedSeed(seed, name));
    const deviation = name.includes("embed") ? 0.02 : shape.length === 1 ? undefined : shape[1]! ** -0.5;
    const { data } = float32(shape);
    tensors.set(name, float32(shape, deviation === undefined ? data.fill(1) : data.map(() => deviation * random.normal())));
  }
  return tensors;
}
