/** @file The measured work: forward, training step, routing and decoding of a model, with or without experts. Each
 *  function prepares the work and returns the function to time and the one to dispose of it. */

import { derivedSeed, seededRandom } from "../dist/base/random.js";
import { float32, int64 } from "../dist/base/tensor.js";
import { scoreTokens } from "../dist/evaluation/scoring/score-tokens.js";
import { Decoder } from "../dist/generation/decoder.js";
import { RoutedPool } from "../dist/inference/routed-pool.js";
import { loadModel } from "../dist/library/model.js";
import { routerNamed } from "../dist/methods/registry.js";
import { adapterLearner, freshLora } from "../dist/training/learner.js";
import { targetModules } from "../dist/training/train.js";
import { Trainer } from "../dist/training/trainer.js";

export const RANK = 16;
const TARGETS = 32;

/** Random token ids, int64 [rows, width]. */
export function randomIds(rows, width, vocabulary, seed = 1) {
  const random = seededRandom(seed);
  return int64(
    [rows, width],
    Array.from({ length: rows * width }, () => 3 + random.integer(vocabulary - 3)),
  );
}

/** Every projection except the head. */
export function targetsOf(model) {
  return targetModules(model.base, undefined);
}

function batchOf(model, rows, width) {
  const { kind, vocabularySize } = model.base.architecture;
  const inputIds = randomIds(rows, width, vocabularySize);
  return kind === "encoder-decoder" ? { inputIds, decoderInputIds: randomIds(rows, TARGETS, vocabularySize, 2) } : { inputIds };
}

export async function forwardWork(folder, { rows, width, experts = 0, ...session }) {
  const base = await loadModel(folder, session);
  const model = experts > 0 ? base.withWoven(randomPool(base, experts)) : base;
  const batch = batchOf(model, rows, width);
  return { run: () => model.forward(batch), dispose: () => base.dispose() };
}

/** One optimizer step of a rank-16 LoRA on every projection, micro-batch = batch. */
export async function trainingWork(folder, { rows, width, precision, ...session }) {
  const model = await loadModel(folder, { precision });
  const { kind, vocabularySize } = model.base.architecture;
  const adapter = freshLora(model.base.modules, { targets: targetsOf(model), rank: RANK, scaling: 1 / RANK, seed: 1 });
  const learner = adapterLearner(model.base, adapter);
  const trainer = await Trainer.create(model.base.architecture, learner, { dropout: 0, seed: 1, session });
  const input_ids = randomIds(rows, width, vocabularySize);
  const attention_mask = int64(input_ids.shape, new BigInt64Array(rows * width).fill(1n));
  const labels = randomIds(rows, kind === "encoder-decoder" ? TARGETS : width, vocabularySize, 3);
  const decoder = kind === "encoder-decoder" ? { decoder_input_ids: randomIds(rows, TARGETS, vocabularySize, 2) } : {};
  const batch = { feeds: { input_ids, attention_mask, labels, ...decoder }, sizes: { batch: rows, sequence: width, targets: TARGETS } };
  let step = 0;
  return { trainer, run: () => trainer.step(step++, 1e-4, [batch]), dispose: () => trainer.dispose() };
}

/** Greedy decoding after a prompt; every call decodes `tokens` tokens per row. */
export async function decodingWork(folder, { rows, width, tokens, experts = 0, ...session }) {
  const base = await loadModel(folder, session);
  const model = experts > 0 ? base.withWoven(randomPool(base, experts)) : base;
  const ids = randomIds(rows, width, model.base.architecture.vocabularySize);
  const prompts = Array.from({ length: rows }, (_, row) => Array.from(ids.data.subarray(row * width, (row + 1) * width), Number));
  const decoder = await Decoder.open(model);
  return {
    run: async () => {
      const slots = prompts.map((prompt) => decoder.admit(prompt));
      while (slots.some(({ logits }) => !logits)) await decoder.step();
      const start = performance.now();
      for (let i = 0; i < tokens; i++) {
        for (const slot of slots) decoder.push(slot, likeliest(slot.logits));
        await decoder.step();
      }
      const time = (performance.now() - start) / tokens;
      for (const slot of slots) decoder.release(slot);
      return time;
    },
    dispose: () => {
      decoder.close();
      return base.dispose();
    },
  };
}

/** Reading a prompt of `width` tokens, as before the first token of an answer. Every call reads another prompt, so that nothing is kept. */
export async function promptWork(folder, { width, experts = 0, ...session }) {
  const base = await loadModel(folder, session);
  const model = experts > 0 ? base.withWoven(randomPool(base, experts)) : base;
  const decoder = await Decoder.open(model);
  let seed = 1;
  return {
    run: async () => {
      const slot = decoder.admit(Array.from(randomIds(1, width, model.base.architecture.vocabularySize, seed++).data, Number));
      while (!slot.logits) await decoder.step();
      decoder.release(slot);
    },
    dispose: () => {
      decoder.close();
      return base.dispose();
    },
  };
}

/** Multiple choice: `questions` prompts of `width` tokens with four choices of 8 tokens. `shared`: a prompt is read once for its choices. */
export async function choiceWork(folder, { questions, width, shared, experts = 0, ...session }) {
  const base = await loadModel(folder, session);
  const model = experts > 0 ? base.withWoven(randomPool(base, experts)) : base;
  const ids = (length, seed) => Array.from(randomIds(1, length, model.base.architecture.vocabularySize, seed).data, Number);
  const requests = Array.from({ length: questions }, (_, i) => ({
    context: ids(width, i + 1),
    continuations: Array.from({ length: 4 }, (_, choice) => ids(8, 1000 + 4 * i + choice)),
  }));
  const alone = requests.flatMap(({ context, continuations }) => continuations.map((one) => ({ context, continuations: [one] })));
  return { run: () => scoreTokens(model, shared ? requests : alone, { batchSize: 16 }), dispose: () => base.dispose() };
}

/** The id of the largest logit. */
export function likeliest(logits) {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i] > logits[best]) best = i;
  return best;
}

/** A PHATGOOSE pool of random experts. */
export function randomPool(model, count) {
  return new RoutedPool(randomExperts(model, count), model.base.modules, { router: routerNamed("phatgoose", {}) });
}

/** Experts with random numbers on every projection. They share a few arrays, since stacking copies them anyway. */
export function randomExperts(model, count) {
  const drawn = new Map();
  const random = (key, scale, ...shape) => {
    const id = `${key} ${shape}`;
    if (!drawn.has(id)) {
      const { normal } = seededRandom(derivedSeed(id));
      drawn.set(
        id,
        float32(
          shape,
          Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => scale * normal()),
        ),
      );
    }
    return drawn.get(id);
  };
  const experts = Array.from({ length: count }, (_, i) => {
    const gates = new Map();
    const modules = new Map();
    for (const module of targetsOf(model)) {
      const size = model.base.modules.get(module);
      gates.set(module, random(`gate ${i}`, 0.1, size.in));
      const factors = { a: random(`a ${i % 4}`, 0.01, RANK, size.in), b: random(`b ${i % 4}`, 0.01, size.out, RANK) };
      modules.set(module, { rank: RANK, scaling: 1 / RANK, ...factors });
    }
    return { name: `expert-${i}`, adapter: { kind: "lora", modules, warnings: [] }, gates, warnings: [] };
  });
  return experts;
}
