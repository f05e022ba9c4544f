/** @file Quantized weights on disk, made once for a base model and a scheme:
 *
 *    <cache>/<fingerprint>-<digest>-<scheme>/
 *      values.safetensors       <tensor>: int8 [in, out] or [out, in], or 4 bits in uint8 [out, blocks, 16]
 *      scales.safetensors       <tensor>: float32 [out], or [out, blocks]; <tensor>.zeros: zero points of 4 bits, [out, ceil(blocks / 2)],
 *                               of weights that come in four bits
 *      backward.safetensors     <tensor>: int8 [out, in], made when a model first trains on this base
 *      quantized.json           { version, scheme, base, bytes }; written last, so a folder without it is incomplete
 *
 *    <cache> = $SKEIN_CACHE/quantized, else skein/quantized in the folder of Hugging Face's caches
 *
 *  Sessions map these files into memory. Opening checks names, dtypes, shapes and sizes against the plan. */

import { readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { CheckpointError } from "../base/errors.ts";
import { elements, type HostTensor } from "../base/tensor.ts";
import { writeFileAtomically } from "../checkpoint/atomic.ts";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { encode, FILE_DTYPE } from "../checkpoint/dtypes.ts";
import { exactDigest } from "../checkpoint/fingerprint.ts";
import { openSafetensors, readTensor, streamSafetensors, type TensorInfo, writeSafetensors } from "../checkpoint/safetensors.ts";
import { type Environment, skeinCache } from "../hub/cache.ts";
import { intoColumns } from "./int8.ts";
import { quantized, repacked, storedShapes } from "./quantize.ts";
import type { TensorPlan } from "./scheme.ts";

const VERSION = 1;
const MANIFEST = "quantized.json";
const BACKWARD = "backward.safetensors";
const manifestSchema = z.object({ version: z.literal(VERSION), scheme: z.string(), base: z.string(), bytes: z.number() });

/** A tensor in the store, as an initializer can point to it. */
export interface StoredInfo {
  readonly plan: TensorPlan;
  readonly values: TensorInfo;
  readonly scales: TensorInfo;
  readonly zeros?: TensorInfo;
}
export interface StoreOptions {
  /** The scheme's name on disk. */
  readonly scheme: string;
  readonly fingerprint: string;
  readonly env?: Environment;
  /** Called after each tensor, with numbers of weights. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** The folder of Skein's files for base models. */
export function quantizedCache(env: Environment = process.env): string {
  return join(skeinCache(env), "quantized");
}

export interface QuantizedStore {
  readonly tensors: ReadonlyMap<string, StoredInfo>;
  /** int8 weights as [out, in], for gradients; the first call makes them and keeps them on disk. */
  openBackward(): Promise<ReadonlyMap<string, TensorInfo>>;
}

/** The quantized tensors of `plan`. If they are not on disk yet, they are made and kept there. */
export async function openStore(
  checkpoint: Checkpoint,
  plan: ReadonlyMap<string, TensorPlan>,
  { scheme, fingerprint, env = process.env, onProgress }: StoreOptions,
): Promise<QuantizedStore> {
  const folder = join(quantizedCache(env), `${fingerprint.slice(0, 20)}-${(await exactDigest(checkpoint)).slice(0, 12)}-${scheme}`);
  if (!(await isComplete(folder))) await make(folder, checkpoint, plan, { scheme, fingerprint, onProgress });
  const tensors = await read(folder, plan).catch(async () => {
    // A damaged file can be made again, so it does not stop the work.
    await make(folder, checkpoint, plan, { scheme, fingerprint, onProgress });
    return read(folder, plan);
  });
  return { tensors, openBackward: () => openBackward(join(folder, BACKWARD), tensors) };
}

async function openBackward(path: string, tensors: ReadonlyMap<string, StoredInfo>): Promise<ReadonlyMap<string, TensorInfo>> {
  const columns = [...tensors].filter(([, { plan }]) => plan.form === "channels");
  const planned = columns.map(([name, { plan }]) => ({ name, dtype: "I8" as const, shape: [plan.out, plan.in] }));
  const isThere = await stat(path).then(
    () => true,
    () => false,
  );
  if (!isThere) await streamSafetensors(path, planned, async (name) => turned(tensors.get(name)!));
  const kept = (await openSafetensors(path)).tensors;
  for (const { name, shape } of planned) if (String(kept.get(name)?.shape) !== String(shape)) throw misfit(name, path);
  return kept;
}

/** int8 [in, out] as the bytes of [out, in]. */
async function turned({ values, plan }: StoredInfo): Promise<Uint8Array> {
  const { data } = await readTensor(values);
  const rows = new Int8Array(data.length);
  intoColumns(rows, data as Int8Array, { width: plan.out, at: 0, columns: plan.in });
  return new Uint8Array(rows.buffer);
}

function misfit(tensor: string, where: string): CheckpointError {
  return new CheckpointError({
    code: "checkpoint-quantized-misfit",
    data: { tensor },
    what: `The quantized weights kept for this model do not fit it: tensor ${tensor}.`,
    where,
    fix: "Delete this file or folder. It is made again at the next use.",
  });
}

async function isComplete(folder: string): Promise<boolean> {
  try {
    return manifestSchema.safeParse(JSON.parse(await readFile(join(folder, MANIFEST), "utf8"))).success;
  } catch {
    return false; // absent, or from another version: it is made again
  }
}

async function make(
  folder: string,
  checkpoint: Checkpoint,
  plan: ReadonlyMap<string, TensorPlan>,
  { scheme, fingerprint, onProgress }: Pick<StoreOptions, "scheme" | "fingerprint" | "onProgress">,
): Promise<void> {
  const total = [...plan.values()].reduce((sum, { in: inputs, out }) => sum + inputs * out, 0);
  const scales = new Map<string, HostTensor>();
  const planned = [...plan].map(([name, tensor]) => ({
    name,
    dtype: tensor.form === "blocks" ? ("U8" as const) : ("I8" as const),
    shape: storedShapes(tensor).values,
  }));
  let done = 0;
  await streamSafetensors(join(folder, "values.safetensors"), planned, async (name) => {
    const own = plan.get(name)!;
    const made = own.packed ? await repacked(own.packed, own) : await quantized(sourceOf(checkpoint, name, own), own);
    scales.set(name, made.scales);
    if (made.zeros) scales.set(zerosOf(name), made.zeros);
    done += own.in * own.out;
    onProgress?.(done, total);
    return encode(made.values, FILE_DTYPE[made.values.dtype]);
  });
  await writeSafetensors(join(folder, "scales.safetensors"), scales);
  const bytes = planned.reduce((sum, { shape }) => sum + elements(shape), 0);
  await writeFileAtomically(join(folder, MANIFEST), `${JSON.stringify({ version: VERSION, scheme, base: fingerprint, bytes }, null, 2)}\n`);
}

const zerosOf = (tensor: string) => `${tensor}.zeros`;

function sourceOf(checkpoint: Checkpoint, name: string, { in: inputs, out, inByOut }: TensorPlan): TensorInfo {
  const info = checkpoint.tensors.get(name);
  const shape = inByOut ? [inputs, out] : [out, inputs];
  if (info && String(info.shape) === String(shape)) return info;
  throw new CheckpointError({
    code: "checkpoint-tensor-shape",
    data: { tensor: name, expected: shape.join(), got: info?.shape.join() ?? "none" },
    what: info
      ? `Tensor ${name} has shape [${info.shape.join(", ")}], not [${shape.join(", ")}].`
      : `The checkpoint has no tensor ${name}.`,
    where: info?.file ?? checkpoint.directory,
    fix: "Export the checkpoint again; its config.json asks for this tensor.",
  });
}

async function read(folder: string, plan: ReadonlyMap<string, TensorPlan>): Promise<ReadonlyMap<string, StoredInfo>> {
  const [values, scales] = await Promise.all([
    openSafetensors(join(folder, "values.safetensors")),
    openSafetensors(join(folder, "scales.safetensors")),
  ]);
  const stored = new Map<string, StoredInfo>();
  for (const [name, own] of plan) {
    const shapes = storedShapes(own);
    const [value, scale, zeros] = [values.tensors.get(name), scales.tensors.get(name), scales.tensors.get(zerosOf(name))];
    const isRight =
      value?.dtype === (own.form === "blocks" ? "U8" : "I8") &&
      scale?.dtype === "F32" &&
      String(value.shape) === String(shapes.values) &&
      String(scale.shape) === String(shapes.scales) &&
      (own.packed ? zeros?.dtype === "U8" && String(zeros.shape) === String(shapes.zeros) : true);
    if (!isRight) {
      throw misfit(name, folder);
    }
    stored.set(name, { plan: own, values: value, scales: scale, ...(own.packed && zeros && { zeros }) });
  }
  return stored;
}

export interface KeptWeights {
  readonly folder: string;
  readonly scheme: string;
  readonly base: string;
  readonly bytes: number;
}

/** The stored results, largest first. An incomplete folder has the scheme "unfinished". */
export async function keptWeights(env: Environment = process.env): Promise<KeptWeights[]> {
  const cache = quantizedCache(env);
  const names = await readdir(cache).catch(() => []);
  const kept = await Promise.all(
    names.map(async (name): Promise<KeptWeights> => {
      const folder = join(cache, name);
      const bytes = (await Promise.all((await readdir(folder)).map(async (file) => (await stat(join(folder, file))).size))).reduce(
        (a, b) => a + b,
        0,
      );
      const parsed = manifestSchema.safeParse(JSON.parse(await readFile(join(folder, MANIFEST), "utf8").catch(() => "null")));
      return parsed.success
        ? { folder, scheme: parsed.data.scheme, base: parsed.data.base, bytes }
        : { folder, scheme: "unfinished", base: "", bytes };
    }),
  );
  return kept.sort((a, b) => b.bytes - a.bytes);
}

/** Deletes stored results; the original checkpoints stay. */
export async function clearKeptWeights(env: Environment = process.env): Promise<KeptWeights[]> {
  const kept = await keptWeights(env);
  for (const { folder } of kept) await rm(folder, { recursive: true, force: true });
  return kept;
}
