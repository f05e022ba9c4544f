/** @file The fingerprint of a base model. It identifies the model's numbers, independent of their files and precision.
 *
 *  An expert fits only the base model it was trained on; its gate file and its pool record that base's fingerprint.
 *
 *    SHA-256 over, for each tensor in the order of its name: name, shape, and 64 of its values as bfloat16 bits
 *    (8 runs of 8 neighbors, evenly spaced from the first value to the last; all values of a tensor of 64 or fewer)
 *
 *  It differs for another model, other sizes, added, dropped or renamed tensors, and training or merging that moves values by about 1 %.
 *  It does not depend on how tensors are split into files. Float32, bfloat16 and float16 copies of one model agree: rounding a value to
 *  bfloat16 twice changes nothing, and float16 keeps more bits than bfloat16 within its range. Exceptions: a float32 value stored as
 *  float16 is rounded twice, and values below 6e-5 or above 65,504 do not fit float16; such a copy may get another fingerprint.
 *  It misses changes outside the sampled values, changes smaller than bfloat16's steps, and all of config.json. It detects
 *  mix-ups; it does not prove that a file is authentic. */

import { createHash } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import { elements, type HostTensor } from "../base/tensor.ts";
import { codeOf } from "./atomic.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { DTYPE_BYTES, float32ToBfloat16 } from "./dtypes.ts";
import { readTensor, type TensorInfo } from "./safetensors.ts";
import { hostTensor } from "./safetensors-bytes.ts";

const VERSION = "skein-fingerprint-1\n";
const RUNS = 8;
const RUN_LENGTH = 8;

/** 64 hexadecimal digits that identify the checkpoint's numbers. Reads about a hundred bytes per tensor, however large. */
export async function fingerprint(checkpoint: Pick<Checkpoint, "tensors">): Promise<string> {
  const hash = createHash("sha256").update(VERSION);
  using samples = new Samples();
  for (const name of [...checkpoint.tensors.keys()].sort()) {
    const info = checkpoint.tensors.get(name)!;
    hash.update(`${JSON.stringify([name, info.shape])}\n`);
    for (const run of sampledRuns(info)) hash.update(new Uint8Array(float32ToBfloat16(asFloat32(await samples.read(run))).buffer));
  }
  return hash.digest("hex");
}

/** A hash of the same samples without rounding. Copies in other precisions differ, and so does a model after one training step. */
export async function exactDigest(checkpoint: Pick<Checkpoint, "tensors">): Promise<string> {
  const hash = createHash("sha256").update(VERSION);
  using samples = new Samples();
  for (const [name, info] of [...checkpoint.tensors].sort(([a], [b]) => (a < b ? -1 : 1))) {
    hash.update(`${JSON.stringify([name, info.dtype, info.shape])}\n`);
    for (const run of sampledRuns(info)) {
      const { data } = await samples.read({ ...run, dtype: "U8", shape: [run.bytes] });
      hash.update(data as Uint8Array);
    }
  }
  return hash.digest("hex");
}

/** Reads thousands of samples, each file opened once. Reading blocks, since for so few bytes the event loop takes longer than the reading. */
class Samples implements Disposable {
  readonly #files = new Map<string, number>();

  async read(info: TensorInfo): Promise<HostTensor> {
    const bytes = new ArrayBuffer(info.bytes);
    try {
      if (readSync(this.#file(info.file), new Uint8Array(bytes), 0, info.bytes, info.offset) === info.bytes) return hostTensor(info, bytes);
    } catch (error) {
      if (codeOf(error) === "") throw error;
    }
    return readTensor(info); // it says what is wrong with the file
  }

  #file(path: string): number {
    const file = this.#files.get(path) ?? openSync(path, "r");
    this.#files.set(path, file);
    return file;
  }

  [Symbol.dispose](): void {
    for (const file of this.#files.values()) closeSync(file);
  }
}

/** The sampled parts of a tensor, as tensors of their own. */
function sampledRuns(info: TensorInfo): TensorInfo[] {
  const width = DTYPE_BYTES[info.dtype];
  const count = elements(info.shape);
  const part = (begin: number, length: number): TensorInfo => ({
    ...info,
    // Eight-bit floats and 64-bit unsigned numbers have no host dtype, so their bytes are hashed.
    dtype: info.dtype === "U64" || info.dtype === "F8_E4M3" || info.dtype === "F8_E5M2" ? "U8" : info.dtype,
    shape: [length],
    offset: info.offset + begin * width,
    bytes: length * width,
  });
  if (count <= RUNS * RUN_LENGTH) return [part(0, count)];
  return Array.from({ length: RUNS }, (_, i) => part(Math.floor((i * (count - RUN_LENGTH)) / (RUNS - 1)), RUN_LENGTH));
}

function asFloat32({ data }: HostTensor): Float32Array {
  return data instanceof Float32Array ? data : Float32Array.from(data, Number);
}
