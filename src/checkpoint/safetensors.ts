/** @file safetensors: tensors by name in one file, read lazily and written atomically (format: huggingface.co/docs/safetensors).
 *
 *  Opening reads only the header. Each tensor is read on its own, by byte range. Large checkpoints need not be read at all: a TensorInfo
 *  gives a tensor's file, offset and length, and a graph's initializer points there. */

import { type FileHandle, open, realpath } from "node:fs/promises";
import { CheckpointError, invariant, messageOf } from "../base/errors.ts";
import { elements, type HostTensor } from "../base/tensor.ts";
import { codeOf, replaceFile, writeAll } from "./atomic.ts";
import { DTYPE_BYTES, encode, FILE_DTYPE, type FileDType } from "./dtypes.ts";
import { headerLength, hostTensor, parseSafetensors, tooShort } from "./safetensors-bytes.ts";
import { corrupt, METADATA, parseHeader, type TensorInfo } from "./safetensors-header.ts";

export type { TensorInfo } from "./safetensors-header.ts";

// One read call takes less than 2 GiB.
const PIECE = 2 ** 30;

/** A safetensors file whose header was read. No file handle stays open. */
export interface SafetensorsFile {
  /** The file's real path. */
  readonly path: string;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Reads and checks the header of the safetensors file `path`. */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  return withFile(path, async (handle) => {
    const file = await realpath(path);
    const stat = await handle.stat();
    if (!stat.isFile()) throw corrupt(file, "it is a folder or device.");
    const whole = { file, fileBytes: stat.size };
    if (stat.size < 8) throw tooShort(whole);
    const length = headerLength(await readRange(handle, { file, offset: 0, bytes: 8 }), whole);
    const json = new Uint8Array(await readRange(handle, { file, offset: 8, bytes: length }));
    return { path: file, ...parseHeader(json, whole) };
  });
}

/** Reads one tensor. F16 and BF16 become float32, exactly; I16, U16 int32, U32 int64; the others keep their dtype. */
export async function readTensor(info: TensorInfo): Promise<HostTensor> {
  return withFile(info.file, (handle) => readFrom(handle, info));
}

/** Reads a whole file into memory, in one go. */
export async function readWhole(path: string): Promise<SafetensorsFile & { readonly read: (info: TensorInfo) => HostTensor }> {
  return withFile(path, async (handle) => {
    const file = await realpath(path);
    const stat = await handle.stat();
    if (!stat.isFile()) throw corrupt(file, "it is a folder or device.");
    const bytes = new Uint8Array(await readRange(handle, { file, offset: 0, bytes: stat.size }));
    return { path: file, ...parseSafetensors(bytes, file) };
  });
}

/** Reads all tensors of a file. */
export async function readSafetensors(path: string): Promise<Map<string, HostTensor>> {
  const { path: file, tensors } = await openSafetensors(path);
  return withFile(file, async (handle) => {
    const read = new Map<string, HostTensor>();
    for (const [name, info] of tensors) read.set(name, await readFrom(handle, info));
    return read;
  });
}

export interface WriteOptions {
  /** Text stored in the header. Default `{ format: "pt" }`, which the transformers library requires. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Store float tensors in 16 bits (rounded to nearest even), or "keep" every tensor's dtype. Default "keep". */
  readonly dtype?: "keep" | "F16" | "BF16";
}

/** Writes `tensors` to the safetensors file `path` atomically; creates missing folders. */
export async function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, HostTensor> | Readonly<Record<string, HostTensor>>,
  { metadata = { format: "pt" }, dtype = "keep" }: WriteOptions = {},
): Promise<void> {
  const entries = plan(tensors instanceof Map ? [...tensors] : Object.entries(tensors), dtype);
  const planned = entries.map(({ name, tensor, stored }) => ({ name, dtype: stored, shape: tensor.shape }));
  const bytes = async (_: string, index: number) => encode(entries[index]!.tensor, entries[index]!.stored);
  await streamSafetensors(path, planned, bytes, { metadata });
}

/** The name, dtype and shape of a tensor that is written later. */
export interface PlannedTensor {
  readonly name: string;
  readonly dtype: FileDType;
  readonly shape: readonly number[];
}

/** The order of tensors in a file: wide dtypes first, so that every tensor is aligned to its own, then by name. */
export function inFileOrder(a: Pick<PlannedTensor, "name" | "dtype">, b: Pick<PlannedTensor, "name" | "dtype">): number {
  return DTYPE_BYTES[b.dtype] - DTYPE_BYTES[a.dtype] || (a.name < b.name ? -1 : 1);
}

/** Writes the tensors of `planned` one after the other, so that only one is in memory at a time. `bytes` returns the bytes of each. */
export async function streamSafetensors(
  path: string,
  planned: readonly PlannedTensor[],
  bytes: (name: string, index: number) => Promise<Uint8Array>,
  { metadata = { format: "pt" } }: Pick<WriteOptions, "metadata"> = {},
): Promise<void> {
  const header: [string, unknown][] = [[METADATA, metadata]];
  const sizes = planned.map(({ dtype, shape }) => elements(shape) * DTYPE_BYTES[dtype]);
  let at = 0;
  planned.forEach(({ name, dtype, shape }, i) => {
    header.push([name, { dtype, shape, data_offsets: [at, at + sizes[i]!] }]);
    at += sizes[i]!;
  });
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)));
  const padded = new Uint8Array(8 + Math.ceil(json.length / 8) * 8).fill(0x20); // spaces, so that data starts at a multiple of 8
  new DataView(padded.buffer).setBigUint64(0, BigInt(padded.length - 8), true);
  padded.set(json, 8);
  await replaceFile(path, async (handle) => {
    await writeAll(handle, padded);
    for (const [i, { name }] of planned.entries()) {
      const data = await bytes(name, i);
      invariant(data.length === sizes[i], `${name} has ${data.length} bytes, not the ${sizes[i]} planned`);
      await writeAll(handle, data);
    }
  });
}

interface Planned {
  readonly name: string;
  readonly tensor: HostTensor;
  readonly stored: FileDType;
}

/** Orders tensors by width of dtype, widest first, then by name, like the reference implementation. Each tensor is then aligned to its dtype. */
function plan(tensors: readonly (readonly [string, HostTensor])[], dtype: "keep" | "F16" | "BF16"): Planned[] {
  const entries = tensors.map(([name, tensor]) => {
    invariant(tensor.data.length === elements(tensor.shape), `${name}: shape [${tensor.shape}] but ${tensor.data.length} numbers`);
    invariant(name !== METADATA, `a tensor cannot be called ${METADATA}`);
    const isFloat = tensor.dtype === "float32" || tensor.dtype === "float64";
    return { name, tensor, stored: isFloat && dtype !== "keep" ? dtype : FILE_DTYPE[tensor.dtype] };
  });
  return entries.sort((a, b) => inFileOrder({ name: a.name, dtype: a.stored }, { name: b.name, dtype: b.stored }));
}

async function readFrom(handle: FileHandle, info: TensorInfo): Promise<HostTensor> {
  return hostTensor(info, await readRange(handle, info));
}

async function readRange(handle: FileHandle, { file, offset, bytes }: Pick<TensorInfo, "file" | "offset" | "bytes">): Promise<ArrayBuffer> {
  const buffer = new ArrayBuffer(bytes);
  for (let at = 0; at < bytes; ) {
    const { bytesRead } = await handle.read(new Uint8Array(buffer, at, Math.min(PIECE, bytes - at)), { position: offset + at });
    if (bytesRead === 0) throw corrupt(file, `it ends at byte ${offset + at}, ${bytes - at} bytes too early.`, { isCut: true });
    at += bytesRead;
  }
  return buffer;
}

async function withFile<T>(path: string, use: (handle: FileHandle) => Promise<T>): Promise<T> {
  try {
    const handle = await open(path, "r");
    try {
      return await use(handle);
    } finally {
      await handle.close();
    }
  } catch (error) {
    const code = codeOf(error);
    if (error instanceof CheckpointError || code === "") throw error;
    const fix =
      code === "ENOENT" || code === "ENOTDIR" ? "Check the path." : "Check that you may read this file and that its disk is well.";
    throw new CheckpointError({
      code: "checkpoint-unreadable",
      what: `Cannot read the file: ${messageOf(error)}.`,
      where: path,
      fix,
      cause: error,
    });
  }
}
