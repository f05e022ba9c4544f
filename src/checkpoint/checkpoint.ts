/** @file A checkpoint in Hugging Face's layout: a folder with config.json, tensors and a tokenizer.
 *
 *    config.json                        the model's type and sizes
 *    generation_config.json             optional: its default generation settings
 *    model.safetensors                  all tensors, or
 *    model.safetensors.index.json       { "weight_map": { tensor: shard } } and the shards beside it
 *
 *  Opening reads headers only. Pickled tensors (pytorch_model.bin) are never read, since unpickling can run any code in the file. */

import { readdir, readFile, stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import * as z from "zod";
import { CheckpointError, messageOf } from "../base/errors.ts";
import type { HostTensor } from "../base/tensor.ts";
import { codeOf, writeFileAtomically } from "./atomic.ts";
import { type PackedWeights, packedWeights } from "./packed-layout.ts";
import { checkPacked } from "./packed-weights.ts";
import { refuseQuantized } from "./quantized-checkpoint.ts";
import { openSafetensors, type TensorInfo, type WriteOptions, writeSafetensors } from "./safetensors.ts";

const CONFIG = "config.json";
const GENERATION_CONFIG = "generation_config.json";
const TENSORS = "model.safetensors";
const INDEX = "model.safetensors.index.json";

/** The files of a tokenizer and its chat template. They are copied unchanged from checkpoint to checkpoint. */
export const TOKENIZER_FILES: readonly string[] = [
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "chat_template.jinja",
  "vocab.json",
  "vocab.txt",
  "merges.txt",
  "spiece.model",
  "tokenizer.model",
  "qwen.tiktoken",
];

export interface Checkpoint {
  readonly directory: string;
  /** The content of config.json; each architecture parses the keys it needs. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly generationConfig?: Readonly<Record<string, unknown>>;
  /** Every tensor by name, from all shards. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** Weights that come in four bits, by the names that they would have in float ("....weight"). */
  readonly packed?: PackedWeights;
}

/** Opens the checkpoint in `directory`, reading its configuration and the headers of its tensor files. */
export async function openCheckpoint(directory: string): Promise<Checkpoint> {
  const names = await filesOf(directory);
  if (!names.has(CONFIG)) {
    const isAdapter = names.has("adapter_config.json");
    const fix = isAdapter
      ? "This is an adapter: give its folder as `adapter`, and the model it was trained on as the base."
      : "Give the folder of a model that was saved in Hugging Face's format.";
    throw new CheckpointError({
      code: isAdapter ? "checkpoint-is-adapter" : "checkpoint-no-config",
      data: { folder: directory },
      what: `No ${CONFIG} in this folder.`,
      where: directory,
      fix,
    });
  }
  const config = await readJsonObject(join(directory, CONFIG));
  const tensors = names.has(TENSORS)
    ? (await openSafetensors(join(directory, TENSORS))).tensors
    : names.has(INDEX)
      ? await openShards(directory)
      : refuseTensors(directory, names);
  const packed = packedWeights(config, tensors)?.packed;
  if (packed) await checkPacked(packed, directory);
  else refuseQuantized({ config, tensors, directory });
  const opened = { directory, config, tensors, ...(packed && { packed }) };
  if (!names.has(GENERATION_CONFIG)) return opened;
  return { ...opened, generationConfig: await readJsonObject(join(directory, GENERATION_CONFIG)) };
}

async function filesOf(directory: string): Promise<ReadonlySet<string>> {
  try {
    return new Set(await readdir(directory));
  } catch (error) {
    throw new CheckpointError({
      code: "checkpoint-unreadable",
      what: `Cannot open the checkpoint's folder: ${messageOf(error)}.`,
      where: directory,
      fix: "Check the path: it must be a folder you may read.",
      cause: error,
    });
  }
}

function refuseTensors(directory: string, names: ReadonlySet<string>): never {
  const pickle = [...names].find((name) => /^pytorch_model.*\.bin(\.index\.json)?$/.test(name));
  if (pickle !== undefined) {
    throw new CheckpointError({
      code: "checkpoint-pickled",
      what: `The tensors of this checkpoint are pickled (${pickle}); opening a pickle can run code, so it is not opened.`,
      where: directory,
      fix: "Convert it first, which reads its tensors and runs nothing.",
      data: { folder: directory },
    });
  }
  const other = [...names].filter((name) => name.endsWith(".safetensors"));
  const beside = other.length > 0 ? ` (found ${other.slice(0, 3).join(", ")})` : "";
  throw new CheckpointError({
    code: "checkpoint-no-tensors",
    what: `Neither ${TENSORS} nor ${INDEX} in this folder${beside}.`,
    where: directory,
    fix:
      other.length === 1
        ? `If ${other[0]} holds the whole model, rename it to ${TENSORS}.`
        : "Fetch or export the checkpoint again, as safetensors.",
  });
}

/** Reads a JSON file whose top level is an object. */
export async function readJsonObject(path: string): Promise<Readonly<Record<string, unknown>>> {
  const bad = (what: string, cause?: unknown): CheckpointError =>
    new CheckpointError({
      code: codeOf(cause) ? "checkpoint-unreadable" : "checkpoint-bad-json",
      what,
      where: path,
      fix: "Fetch or write this file again.",
      cause,
    });
  let value: unknown;
  try {
    value = JSON.parse(await readFile(path, "utf8"));
  } catch (error) {
    throw bad(codeOf(error) ? `Cannot read the file: ${messageOf(error)}.` : `Not valid JSON: ${messageOf(error)}.`, error);
  }
  const parsed = z.record(z.string(), z.unknown()).safeParse(value);
  if (!parsed.success) throw bad("Expected a JSON object at the top.");
  return parsed.data;
}

const indexSchema = z.object({ weight_map: z.record(z.string(), z.string()) });

/** Opens every shard that the index names and checks that index and shards agree. */
async function openShards(directory: string): Promise<Map<string, TensorInfo>> {
  const path = join(directory, INDEX);
  const bad = (what: string): CheckpointError =>
    new CheckpointError({
      code: "checkpoint-shards-disagree",
      what,
      where: path,
      fix: "Index and shards are not from the same export: fetch or export the checkpoint again.",
    });
  const parsed = indexSchema.safeParse(await readJsonObject(path));
  if (!parsed.success) throw bad(`The index is malformed: ${z.prettifyError(parsed.error)}.`);
  const shardOf = new Map(Object.entries(parsed.data.weight_map));
  const tensors = new Map<string, TensorInfo>();
  for (const shard of new Set(shardOf.values())) {
    if (shard !== basename(shard) || shard === ".." || shard.includes("\\") || !shard.endsWith(".safetensors")) {
      throw bad(`The index names the shard ${JSON.stringify(shard)}; a shard is a .safetensors file in the same folder.`);
    }
    for (const [name, info] of (await openSafetensors(join(directory, shard))).tensors) {
      const claimed = shardOf.get(name);
      if (claimed !== shard)
        throw bad(`${shard} holds tensor ${name}, which the index ${claimed ? `places in ${claimed}` : "does not name"}.`);
      tensors.set(name, info);
    }
  }
  for (const [name, shard] of shardOf)
    if (!tensors.has(name)) throw bad(`The index places tensor ${name} in ${shard}, which does not hold it.`);
  return tensors;
}

export interface SaveOptions {
  readonly config: Readonly<Record<string, unknown>>;
  readonly tensors: ReadonlyMap<string, HostTensor> | Readonly<Record<string, HostTensor>>;
  readonly generationConfig?: Readonly<Record<string, unknown>>;
  /** A folder whose tokenizer files are copied. */
  readonly copyFrom?: string;
  /** Store float tensors in 16 bits, or "keep" them. Default "keep". */
  readonly dtype?: WriteOptions["dtype"];
}

/** Saves a checkpoint that openCheckpoint and Hugging Face's libraries can read. config.json is written last, since it marks a complete checkpoint. */
export async function saveCheckpoint(directory: string, options: SaveOptions): Promise<void> {
  const { config, tensors, generationConfig, copyFrom, dtype = "keep" } = options;
  await writeSafetensors(join(directory, TENSORS), tensors, { dtype });
  if (copyFrom !== undefined) await copyTokenizer(copyFrom, directory);
  if (generationConfig) await writeFileAtomically(join(directory, GENERATION_CONFIG), `${JSON.stringify(generationConfig, null, 2)}\n`);
  await writeFileAtomically(join(directory, CONFIG), `${JSON.stringify(config, null, 2)}\n`);
}

/** Copies the tokenizer files that exist in the folder `from`. */
export async function copyTokenizer(from: string, to: string): Promise<void> {
  if (resolve(from) === resolve(to)) return;
  const names = await filesOf(from);
  for (const name of TOKENIZER_FILES) {
    if (names.has(name) && (await stat(join(from, name))).isFile())
      await writeFileAtomically(join(to, name), await readFile(join(from, name)));
  }
}
