/** @file The wider base of the study on public data: a Llama of width 256 with 4.2 million weights, pre-trained on public text
 *  (wide-text.ts) with Skein's full fine-tuning.
 *
 *  Its vocabulary is the first 4,096 pieces of GPT-2's: byte-pair merges are in the order in which they were found, so a beginning of
 *  the list is a tokenizer of its own. Training goes in rounds at a constant rate, each from the one before. The base is written after
 *  a last round in which the rate falls to 0. More rounds go on from the last constant one. */

import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { writeFileAtomically } from "../checkpoint/atomic.ts";
import { saveCheckpoint } from "../checkpoint/checkpoint.ts";
import { readSafetensors } from "../checkpoint/safetensors.ts";
import { freshLlama } from "../demo/moa-base.ts";
import { loadModel } from "../library/model.ts";
import { exists } from "../storage/files.ts";
import type { LoopHooks } from "../training/loop.ts";
import { trainFull } from "../training/train.ts";
import { wideText } from "./wide-text.ts";

const VOCABULARY = 4096;
const END = "<|endoftext|>";

const WIDE_CONFIG = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  hidden_size: 256,
  intermediate_size: 688,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  num_key_value_heads: 4,
  hidden_act: "silu",
  rms_norm_eps: 1e-6,
  rope_theta: 10000,
  max_position_embeddings: 512,
  tie_word_embeddings: true,
  vocab_size: VOCABULARY,
  bos_token_id: VOCABULARY - 1,
  eos_token_id: VOCABULARY - 1,
} as const;

export interface WideBaseOptions {
  /** The folder of public data. */
  readonly data: string;
  /** The folder of GPT-2's tokenizer. */
  readonly tokenizer: string;
  readonly seed?: number;
  /** Rounds at the constant rate. */
  readonly rounds?: number;
  /** Steps of a round, and of the last one. */
  readonly steps?: { readonly round: number; readonly last: number };
  readonly hooks?: LoopHooks & { readonly onRound?: (name: string) => void };
}

/** Makes the base and its tokenizer and writes them to `out`; `work` holds the rounds. Finished rounds are not repeated. */
export async function makeWideBase(out: string, work: string, options: WideBaseOptions): Promise<void> {
  const { data, seed = 1, rounds = 4, steps = { round: 120, last: 60 }, hooks = {} } = options;
  const start = join(work, "start");
  await mkdir(start, { recursive: true });
  await writeTokenizer(options.tokenizer, start);
  await saveCheckpoint(start, { config: WIDE_CONFIG, tensors: freshLlama(WIDE_CONFIG, seed) });
  const training = (await wideText(data, seed)).map((text) => ({ kind: "text" as const, text }));
  const parts = [
    ...Array.from({ length: rounds }, (_, i) => ({
      name: `round-${i + 1}`,
      steps: steps.round,
      kind: "constant" as const,
      seed: seed + i,
    })),
    { name: `last-${rounds}`, steps: steps.last, kind: "linear" as const, seed: seed + rounds },
  ];
  let from = start;
  for (const part of parts) {
    const to = join(work, part.name);
    if (!(await exists(join(to, "model.safetensors")))) {
      hooks.onRound?.(part.name);
      await using model = await loadModel(from);
      const schedule = { kind: part.kind, warmupRatio: WARMUP };
      await trainFull({
        model,
        tokenizer: await model.tokenizer(),
        training,
        run: join(work, `run-${part.name}`),
        out: to,
        hooks,
        options: { ...RECIPE, steps: part.steps, schedule, seed: part.seed },
      });
    }
    from = to;
  }
  const tensors = await readSafetensors(join(from, "model.safetensors"));
  await saveCheckpoint(out, { config: WIDE_CONFIG, tensors, copyFrom: start, dtype: "F16" });
}

const WARMUP = 0.1;
const RECIPE = { batchSize: 16, microBatchSize: 8, maxLength: 320, packing: true, lr: 2e-3, validateEvery: 0, saveEvery: 25 } as const;

const GPT2 = z.looseObject({
  added_tokens: z.array(z.looseObject({ content: z.string() })),
  model: z.looseObject({ vocab: z.record(z.string(), z.number()), merges: z.array(z.string()) }),
});

/** The first pieces of GPT-2's vocabulary and the end of text. */
async function writeTokenizer(from: string, to: string): Promise<void> {
  const whole = GPT2.parse(JSON.parse(await readFile(join(from, "tokenizer.json"), "utf8")));
  const pieces = Object.entries(whole.model.vocab).filter(([, id]) => id < VOCABULARY - 1);
  const bytes = 256;
  const model = {
    ...whole.model,
    vocab: { ...Object.fromEntries(pieces), [END]: VOCABULARY - 1 },
    merges: whole.model.merges.slice(0, VOCABULARY - 1 - bytes),
  };
  const added = { id: VOCABULARY - 1, content: END, special: true, normalized: false, lstrip: false, rstrip: false, single_word: false };
  const content = { ...whole, model, added_tokens: [added], truncation: null, padding: null };
  await writeFileAtomically(join(to, "tokenizer.json"), JSON.stringify(content));
  const config = { tokenizer_class: "GPT2Tokenizer", eos_token: END, bos_token: END, model_max_length: 512, add_prefix_space: false };
  await writeFileAtomically(join(to, "tokenizer_config.json"), JSON.stringify(config, null, 2));
}
