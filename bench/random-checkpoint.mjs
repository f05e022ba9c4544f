/** @file Checkpoints with real shapes and random weights, for measurements. They are written tensor by tensor, so that any size
 *  needs little memory. */

import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { tracedTensors } from "../dist/models/logits.js";
import { architectureOf } from "../dist/models/registry.js";

/** Width 512, as in the issues of this project's speed goals. */
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
  llama: {
    model_type: "llama",
    vocab_size: 8192,
    hidden_size: 512,
    intermediate_size: 1376,
    num_hidden_layers: 8,
    num_attention_heads: 8,
    num_key_value_heads: 8,
    max_position_embeddings: 2048,
    tie_word_embeddings: false,
    eos_token_id: 2,
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

const BYTES = { F32: 4, BF16: 2 };

/** Writes config.json and model.safetensors into `folder`; returns the bytes of the weights. */
export function writeRandomCheckpoint(folder, config, dtype = "F32") {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
  const shapes = tracedTensors(architectureOf({ config, tensors: new Map(), directory: folder }));
  const header = {};
  let end = 0;
  for (const [name, shape] of shapes) {
    const start = end;
    end += shape.reduce((product, size) => product * size, BYTES[dtype]);
    header[name] = { dtype, shape, data_offsets: [start, end] };
  }
  const text = JSON.stringify(header);
  const bytes = Buffer.from(text + " ".repeat(-text.length & 7));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(bytes.length));
  const file = openSync(join(folder, "model.safetensors"), "w");
  writeSync(file, length);
  writeSync(file, bytes);
  const noise = uniformNoise();
  for (const shape of shapes.values()) for (const part of values(shape, dtype, noise)) writeSync(file, part);
  closeSync(file);
  return end;
}

// Every tensor is cut from one array of noise at different offsets, since drawing half a billion numbers takes minutes.
const PIECE = 1 << 20;
const STRIDE = 7919;

/** A tensor's bytes, a piece at a time: ones for norms, else uniform with variance 1 / fan-in. */
function* values(shape, dtype, noise) {
  const count = shape.reduce((product, size) => product * size, 1);
  const bound = Math.sqrt(3 / shape.at(-1));
  for (let start = 0; start < count; start += PIECE) {
    const offset = (STRIDE * (1 + start / PIECE + shape[0])) % PIECE;
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
