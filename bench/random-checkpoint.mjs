/** @file Checkpoints with real shapes and random weights, for measurements. They are written piece by piece, so that any size
 *  needs little memory.
 *
 *      node bench/random-checkpoint.mjs MODEL FOLDER [F32 | BF16]        MODEL: a name in CONFIGS; needs npm run build */

import { closeSync, existsSync, mkdirSync, openSync, renameSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { tracedTensors } from "../dist/models/logits.js";
import { architectureOf } from "../dist/models/registry.js";

/** Width 512 unless the name says another. */
export const CONFIGS = {
  t5: {
    model_type: "t5",
    vocab_size: 8192,
    d_model: 512,
    d_kv: 64,
    d_ff: 1024,
    num_layers: 6,
    num_decoder_layers: 6,
    num_heads: 8,
    feed_forward_proj: "gated-gelu",
    tie_word_embeddings: false,
    dropout_rate: 0,
    decoder_start_token_id: 0,
    pad_token_id: 0,
    eos_token_id: 1,
  },
  llama: llamaOf(512, 1376),
  "llama-256": llamaOf(256, 688),
  "llama-1024": llamaOf(1024, 2752),
  // google/t5-v1_1-xl's sizes, which the paper's base has: 2.8 billion weights.
  "t5-xl": {
    model_type: "t5",
    vocab_size: 32128,
    d_model: 2048,
    d_kv: 64,
    d_ff: 5120,
    num_layers: 24,
    num_decoder_layers: 24,
    num_heads: 32,
    feed_forward_proj: "gated-gelu",
    tie_word_embeddings: false,
    dropout_rate: 0,
    decoder_start_token_id: 0,
    pad_token_id: 0,
    eos_token_id: 1,
  },
  // The shape "Q": that of Qwen2.5-0.5B with a smaller vocabulary.
  q: {
    model_type: "qwen2",
    vocab_size: 32000,
    hidden_size: 896,
    intermediate_size: 4864,
    num_hidden_layers: 24,
    num_attention_heads: 14,
    num_key_value_heads: 2,
    max_position_embeddings: 32768,
    rms_norm_eps: 1e-6,
    rope_theta: 1000000,
    hidden_act: "silu",
    tie_word_embeddings: true,
    use_sliding_window: false,
    eos_token_id: 2,
  },
  // Qwen/Qwen2.5-0.5B's own config.json.
  "qwen2.5-0.5b": {
    model_type: "qwen2",
    vocab_size: 151936,
    hidden_size: 896,
    intermediate_size: 4864,
    num_hidden_layers: 24,
    num_attention_heads: 14,
    num_key_value_heads: 2,
    max_position_embeddings: 32768,
    rms_norm_eps: 1e-6,
    rope_theta: 1000000,
    hidden_act: "silu",
    tie_word_embeddings: true,
    use_sliding_window: false,
    eos_token_id: 151643,
  },
};

function llamaOf(width, inner) {
  return {
    model_type: "llama",
    vocab_size: 8192,
    hidden_size: width,
    intermediate_size: inner,
    num_hidden_layers: 8,
    num_attention_heads: width / 64,
    num_key_value_heads: width / 64,
    max_position_embeddings: 2048,
    tie_word_embeddings: false,
    eos_token_id: 2,
  };
}

const BYTES = { F32: 4, BF16: 2 };

/** Writes config.json and the weights into `folder`: model.safetensors, or shards of about `shardBytes` with their index. Every file gets its
 *  name when it is whole, and shards that are there already are left as they are. Returns the bytes of the weights. */
export function writeRandomCheckpoint(folder, config, dtype = "F32", { shardBytes = Number.POSITIVE_INFINITY } = {}) {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
  const shapes = [...shapesOf(config)];
  const shards = [];
  let room = 0;
  for (const [name, shape] of shapes) {
    const bytes = bytesOf(shape, dtype);
    if (room < bytes) {
      shards.push([]);
      room = shardBytes;
    }
    shards.at(-1).push([name, shape]);
    room -= bytes;
  }
  const two = (number) => String(number).padStart(5, "0");
  const fileOf = (i) => (shards.length === 1 ? "model.safetensors" : `model-${two(i + 1)}-of-${two(shards.length)}.safetensors`);
  const noise = uniformNoise();
  let first = 0;
  for (const [i, shard] of shards.entries()) {
    const path = join(folder, fileOf(i));
    if (shardBytes === Number.POSITIVE_INFINITY || !existsSync(path)) writeFile(path, shard, { first, dtype, noise });
    first += shard.length;
  }
  if (shards.length > 1) {
    const places = shards.flatMap((shard, i) => shard.map(([name]) => [name, fileOf(i)]));
    const index = join(folder, "model.safetensors.index.json");
    writeFileSync(`${index}.partial`, JSON.stringify({ weight_map: Object.fromEntries(places) }));
    renameSync(`${index}.partial`, index);
  }
  return shapes.reduce((sum, [, shape]) => sum + bytesOf(shape, dtype), 0);
}

/** The checkpoint's tensors: name -> shape. */
export function shapesOf(config) {
  return tracedTensors(architectureOf({ config, tensors: new Map(), directory: "." }));
}

const bytesOf = (shape, dtype) => shape.reduce((product, size) => product * size, BYTES[dtype]);

/** `first`: the number of the file's first tensor. */
function writeFile(path, tensors, { first, dtype, noise }) {
  const header = {};
  let end = 0;
  for (const [name, shape] of tensors) {
    const start = end;
    end += bytesOf(shape, dtype);
    header[name] = { dtype, shape, data_offsets: [start, end] };
  }
  const text = JSON.stringify(header);
  const bytes = Buffer.from(text + " ".repeat(-text.length & 7));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(bytes.length));
  const file = openSync(`${path}.partial`, "w");
  writeSync(file, length);
  writeSync(file, bytes);
  for (const [i, [, shape]] of tensors.entries()) for (const part of values(first + i, shape, dtype, noise)) writeSync(file, part);
  closeSync(file);
  renameSync(`${path}.partial`, path);
}

// Every tensor is cut from one array of noise, since drawing half a billion numbers takes minutes, and each at an offset of its own: the engine
// keeps equal weights once, so a model of equal layers would take less memory and read from the processor's cache.
const PIECE = 1 << 20;
const STRIDE = 7919;
const MOST_PIECES = 1021; // of a tensor; prime

/** The bytes of tensor number `index`, a piece at a time: ones for norms, else uniform with variance 1 / fan-in. */
function* values(index, shape, dtype, noise) {
  const count = shape.reduce((product, size) => product * size, 1);
  const bound = Math.sqrt(3 / shape.at(-1));
  for (let start = 0; start < count; start += PIECE) {
    const offset = (STRIDE * (1 + start / PIECE + MOST_PIECES * index)) % PIECE;
    const numbers = noise.slice(offset, offset + Math.min(PIECE, count - start));
    for (let i = 0; i < numbers.length; i++) numbers[i] = shape.length === 1 ? 1 : bound * numbers[i];
    yield new Uint8Array((dtype === "F32" ? numbers : bfloat16(numbers)).buffer);
  }
}

/** The upper half of each float's bits. */
function bfloat16(numbers) {
  const bits = new Uint32Array(numbers.buffer);
  const halves = new Uint16Array(bits.length);
  for (let i = 0; i < bits.length; i++) halves[i] = bits[i] >>> 16;
  return halves;
}

/** Marsaglia's xorshift, in [-1, 1). */
function uniformNoise() {
  const numbers = new Float32Array(2 * PIECE);
  let state = 1;
  for (let i = 0; i < numbers.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    numbers[i] = state / 2 ** 31;
  }
  return numbers;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [model, folder, dtype] = process.argv.slice(2);
  console.log(`${writeRandomCheckpoint(folder, CONFIGS[model], dtype)} bytes`);
}
