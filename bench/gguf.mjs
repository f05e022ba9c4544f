/** @file GGUF files of Llama models with random weights, for llama.cpp as a peer (format: ggml-org/ggml, docs/gguf.md). Blocks are drawn as
 *  they are stored, since only their speed is measured:
 *
 *      f32    4 bytes a weight
 *      q8_0   32 weights: a scale in float16, 32 signed bytes
 *      q4_0   32 weights: a scale in float16, 16 bytes of two weights each
 *
 *      node bench/gguf.mjs OUT.gguf [--type q8_0] [--model q] */

import { closeSync, openSync, writeSync } from "node:fs";
import { parseArgs } from "node:util";
import { CONFIGS } from "./random-checkpoint.mjs";

const ALIGNMENT = 32;
const BLOCK = 32;
const PIECE = 1 << 20;
const TYPES = { f32: { id: 0, bytes: 4 * BLOCK }, q4_0: { id: 2, bytes: 2 + BLOCK / 2 }, q8_0: { id: 8, bytes: 2 + BLOCK } };
const [UINT32, INT32, FLOAT32, STRING, ARRAY] = [4, 5, 6, 8, 9];
// A scale of 2^-9 in float16: weights stay small, so that no number overflows.
const HALF_SCALE = 0x1800;

/** Writes a Llama of the sizes in `config` (Hugging Face's words), with weights of type "f32", "q8_0" or "q4_0". */
export function writeRandomGguf(path, config, type) {
  const tensors = [...tensorsOf(config)].map(([name, shape]) => ({ name, shape, type: shape.length === 1 ? "f32" : type }));
  const file = openSync(path, "w");
  let end = 0;
  const placed = tensors.map((tensor) => {
    const offset = end;
    end += aligned(bytesOf(tensor));
    return { ...tensor, offset };
  });
  const head = header(metadata(config), placed);
  writeSync(file, head);
  writeSync(file, Buffer.alloc(aligned(head.length) - head.length));
  const noise = randomBytes();
  for (const tensor of tensors) {
    for (const part of values(tensor, noise)) writeSync(file, part);
    writeSync(file, Buffer.alloc(aligned(bytesOf(tensor)) - bytesOf(tensor)));
  }
  closeSync(file);
}

function* tensorsOf({ hidden_size: width, intermediate_size: inner, vocab_size: vocabulary, ...config }) {
  const size = width / config.num_attention_heads;
  const keys = size * config.num_key_value_heads;
  yield ["token_embd.weight", [vocabulary, width]];
  for (let i = 0; i < config.num_hidden_layers; i++) {
    const name = (part) => `blk.${i}.${part}.weight`;
    yield [name("attn_norm"), [width]];
    yield [name("attn_q"), [width, width]];
    yield [name("attn_k"), [keys, width]];
    yield [name("attn_v"), [keys, width]];
    yield [name("attn_output"), [width, width]];
    yield [name("ffn_norm"), [width]];
    yield [name("ffn_gate"), [inner, width]];
    yield [name("ffn_up"), [inner, width]];
    yield [name("ffn_down"), [width, inner]];
  }
  yield ["output_norm.weight", [width]];
  if (!config.tie_word_embeddings) yield ["output.weight", [vocabulary, width]];
}

function metadata(config) {
  const { vocab_size: vocabulary } = config;
  const uint = (value) => ({ type: UINT32, value });
  const sizes = {
    context_length: 4096,
    embedding_length: config.hidden_size,
    block_count: config.num_hidden_layers,
    feed_forward_length: config.intermediate_size,
    "attention.head_count": config.num_attention_heads,
    "attention.head_count_kv": config.num_key_value_heads,
    "rope.dimension_count": config.hidden_size / config.num_attention_heads,
    vocab_size: vocabulary,
  };
  const special = ["<unk>", "<s>", "</s>"];
  const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`); // llama.cpp looks for "\n"
  const named = [...special, ...bytes];
  const tokens = Array.from({ length: vocabulary }, (_, id) => named[id] ?? `▁t${id}`);
  const kindOf = (id) => (id < special.length ? 3 : id < named.length ? 6 : 1); // control, byte, normal
  return {
    "general.architecture": { type: STRING, value: "llama" },
    ...Object.fromEntries(Object.entries(sizes).map(([name, value]) => [`llama.${name}`, uint(value)])),
    "llama.attention.layer_norm_rms_epsilon": { type: FLOAT32, value: 1e-6 },
    "tokenizer.ggml.model": { type: STRING, value: "llama" },
    "tokenizer.ggml.tokens": { type: ARRAY, of: STRING, value: tokens },
    "tokenizer.ggml.scores": { type: ARRAY, of: FLOAT32, value: tokens.map((_, id) => -id) },
    "tokenizer.ggml.token_type": { type: ARRAY, of: INT32, value: tokens.map((_, id) => kindOf(id)) },
    "tokenizer.ggml.bos_token_id": uint(1),
    "tokenizer.ggml.eos_token_id": uint(2),
  };
}

const text = (value) => Buffer.concat([uint64(Buffer.byteLength(value)), Buffer.from(value)]);
function written(size, method, value) {
  const bytes = Buffer.alloc(size);
  bytes[method](value);
  return bytes;
}
const uint64 = (value) => written(8, "writeBigUInt64LE", BigInt(value));
const uint32 = (value) => written(4, "writeUInt32LE", value);
const int32 = (value) => written(4, "writeInt32LE", value);
const float = (value) => written(4, "writeFloatLE", value);
const WRITERS = { [UINT32]: uint32, [INT32]: int32, [FLOAT32]: float, [STRING]: text };

function header(fields, tensors) {
  const parts = [Buffer.from("GGUF"), uint32(3), uint64(tensors.length), uint64(Object.keys(fields).length)];
  for (const [name, { type, of, value }] of Object.entries(fields)) {
    parts.push(text(name), uint32(type));
    if (type === ARRAY) parts.push(uint32(of), uint64(value.length), ...value.map(WRITERS[of]));
    else parts.push(WRITERS[type](value));
  }
  for (const { name, shape, type, offset } of tensors) {
    // Sizes are listed from the fastest axis on.
    parts.push(text(name), uint32(shape.length), ...[...shape].reverse().map(uint64), uint32(TYPES[type].id), uint64(offset));
  }
  return Buffer.concat(parts);
}

const count = (shape) => shape.reduce((product, size) => product * size, 1);
const aligned = (bytes) => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
function bytesOf({ shape, type }) {
  return (count(shape) / BLOCK) * TYPES[type].bytes;
}

/** The bytes of a tensor, a piece at a time: ones for norms, else random blocks. */
function* values({ shape, type }, noise) {
  if (shape.length === 1) {
    yield Buffer.from(new Float32Array(shape[0]).fill(1).buffer);
    return;
  }
  const total = bytesOf({ shape, type });
  const size = TYPES[type].bytes;
  for (let start = 0; start < total; start += PIECE * size) {
    const piece = noise[type === "f32" ? "floats" : "bytes"].subarray(0, Math.min(PIECE * size, total - start));
    if (type !== "f32") for (let at = 0; at < piece.length; at += size) piece.writeUInt16LE(HALF_SCALE, at);
    yield piece;
  }
}

/** Random bytes, and small random floats. */
function randomBytes() {
  const length = PIECE * TYPES.q8_0.bytes;
  const bytes = Buffer.alloc(length);
  let state = 1;
  for (let i = 0; i < length; i += 4) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes.writeInt32LE(state, i);
  }
  const floats = new Float32Array(PIECE * BLOCK);
  for (let i = 0; i < floats.length; i++) floats[i] = (bytes[i % length] - 128) / 4096;
  return { bytes, floats: Buffer.from(floats.buffer) };
}

if (process.argv[1]?.endsWith("gguf.mjs")) {
  const { values: options, positionals } = parseArgs({
    options: { type: { type: "string", default: "q8_0" }, model: { type: "string", default: "q" } },
    allowPositionals: true,
  });
  writeRandomGguf(positionals[0], CONFIGS[options.model], options.type);
}
