/** @file A folder to serve for measurements, with random weights: a base of Qwen2.5-0.5B's shape with 32,000 tokens, its tokenizer, and pools of
 *  PHATGOOSE experts of rank 16 on every projection. Experts of a pool share four adapters by hard links, and have gates of their own.
 *  What is in the folder already is left as it is. */

import { existsSync, linkSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CONFIGS, writeRandomCheckpoint } from "./random-checkpoint.mjs";
import { randomExperts } from "./work.mjs";

export const SHAPES = {
  q: { ...CONFIGS["qwen2.5-0.5b"], vocab_size: 32000, eos_token_id: 2 },
  tiny: {
    ...CONFIGS.llama,
    vocab_size: 512,
    hidden_size: 64,
    intermediate_size: 128,
    num_hidden_layers: 2,
    num_attention_heads: 2,
    num_key_value_heads: 2,
  },
};
const ADAPTERS = 4;

/** Returns the base's folder, and the pools' folders by their number of experts. */
export async function writeServed(folder, shape, counts) {
  const base = join(folder, "base");
  if (!existsSync(join(base, "model.safetensors"))) writeRandomCheckpoint(base, SHAPES[shape]);
  if (!existsSync(join(base, "tokenizer.json"))) writeTokenizer(base, SHAPES[shape].vocab_size);
  const pools = {};
  for (const count of counts) {
    pools[count] = join(folder, `pool-${count}`);
    if (!existsSync(join(pools[count], "pool.json"))) await writePool(base, pools[count], count, join(folder, "adapters"));
  }
  return { base, pools };
}

/** Words "w0", "w1", ... after the special tokens. */
function writeTokenizer(base, size) {
  const special = ["<pad>", "<unk>", "</s>"];
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const words = Array.from({ length: size - special.length }, (_, i) => `w${i}`);
  const tokenizer = {
    version: "1.0",
    added_tokens: special.map((content, id) => ({ id, content, ...flags })),
    normalizer: null,
    pre_tokenizer: { type: "WhitespaceSplit" },
    post_processor: null,
    decoder: { type: "WordPiece", prefix: "##", cleanup: false },
    model: {
      type: "WordPiece",
      unk_token: "<unk>",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries([...special, ...words].map((word, id) => [word, id])),
    },
  };
  writeFileSync(join(base, "tokenizer.json"), JSON.stringify(tokenizer));
  writeFileSync(join(base, "tokenizer_config.json"), JSON.stringify({ pad_token: "<pad>", eos_token: "</s>", unk_token: "<unk>" }));
}

async function writePool(base, pool, count, adapters) {
  const { loadModel } = await import("../dist/library/model.js");
  const { saveAdapter } = await import("../dist/storage/peft-save.js");
  const { saveGates } = await import("../dist/storage/expert.js");
  const { createPool } = await import("../dist/storage/pool.js");
  const model = await loadModel(base);
  const experts = randomExperts(model, count);
  for (let i = 0; i < Math.min(ADAPTERS, count); i++) {
    const directory = join(adapters, String(i));
    if (!existsSync(directory)) await saveAdapter(directory, experts[i].adapter);
  }
  for (const [i, { name, gates }] of experts.entries()) {
    const [from, to] = [join(adapters, String(i % ADAPTERS)), join(pool, "experts", name)];
    mkdirSync(to, { recursive: true });
    for (const file of readdirSync(from)) linkSync(join(from, file), join(to, file));
    await saveGates(to, gates);
  }
  const fingerprint = await model.base.fingerprint();
  await createPool(
    pool,
    { name: base, fingerprint },
    experts.map(({ name }) => name),
  );
  await model.dispose();
}
