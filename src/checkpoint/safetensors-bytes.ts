/** @file Reads a safetensors file from memory; also holds the code that reading from memory and from disk share. */

import { CheckpointError } from "../base/errors.ts";
import { type HostTensor, madeOnDemand, type Stored } from "../base/tensor.ts";
import { decode, float32Numbers } from "./dtypes.ts";
import { corrupt, type Header, MAX_HEADER_BYTES, parseHeader, type TensorInfo } from "./safetensors-header.ts";

const LFS_POINTER = "version "; // the start of the text file that git stores in place of a large file

/** A safetensors file in memory. */
export interface SafetensorsContent extends Header {
  /** The numbers of one of its tensors. Those in 16 bits stay as they are stored until they are used. */
  readonly read: (info: TensorInfo) => HostTensor;
}

/** Parses the bytes of a safetensors file. `file` names it in messages. */
export function parseSafetensors(bytes: Uint8Array, file: string): SafetensorsContent {
  const whole = { file, fileBytes: bytes.length };
  if (bytes.length < 8) throw tooShort(whole);
  const length = headerLength(bytes.slice(0, 8).buffer, whole);
  const header = parseHeader(bytes.subarray(8, 8 + length), whole);
  const read = (info: TensorInfo) => {
    const own = bytes.slice(info.offset, info.offset + info.bytes);
    return info.dtype === "F16" || info.dtype === "BF16" ? storedTensor(info, (to) => to.set(own))! : hostTensor(info, own.buffer);
  };
  return { ...header, read };
}

interface WholeFile {
  readonly file: string;
  readonly fileBytes: number;
}

/** The error for a file too short to hold the length of its header. */
export function tooShort({ file, fileBytes }: WholeFile): CheckpointError {
  return corrupt(file, `it has ${fileBytes} bytes, a header alone takes more.`, { isCut: true });
}

/** The length of the header's JSON, from the first 8 bytes of the file. */
export function headerLength(start: ArrayBuffer, { file, fileBytes }: WholeFile): number {
  if (new TextDecoder().decode(start) === LFS_POINTER) throw corrupt(file, "it is a Git LFS pointer, not the file itself (git lfs pull).");
  const length = Number(new DataView(start).getBigUint64(0, true));
  if (length > MAX_HEADER_BYTES) throw corrupt(file, `its header claims ${length} bytes, more than ${MAX_HEADER_BYTES} allowed.`);
  if (length > fileBytes - 8) throw corrupt(file, `its header claims ${length} bytes, the file has ${fileBytes}.`, { isCut: true });
  return length;
}

/** A tensor from its bytes. F16 and BF16 become float32, exactly; I16, U16 int32, U32 int64; the others keep their dtype. */
export function hostTensor(info: TensorInfo, bytes: ArrayBuffer): HostTensor {
  const decoded = decode(info.dtype, bytes);
  if (decoded) return { ...decoded, shape: info.shape };
  throw new CheckpointError({
    code: "checkpoint-dtype",
    data: { tensor: info.name, dtype: info.dtype },
    what: `Tensor ${JSON.stringify(info.name)} is ${info.dtype}, which cannot be computed with.`,
    where: info.file,
    fix: "Convert the file to float32, float16 or bfloat16.",
  });
}

/** A float tensor that stays stored until its numbers are read; undefined for dtypes that are read at once. */
export function storedTensor({ dtype, shape, bytes }: TensorInfo, readInto: Stored["readInto"]): HostTensor<"float32"> | undefined {
  if (dtype !== "F32" && dtype !== "F16" && dtype !== "BF16") return undefined;
  const tensor = madeOnDemand(shape, () => {
    const own = new Uint8Array(bytes);
    readInto(own);
    return float32Numbers(dtype, own.buffer);
  });
  return Object.defineProperty(tensor, "stored", { value: new StoredBytes(dtype, readInto), enumerable: true });
}

class StoredBytes implements Stored {
  readonly format: Stored["format"];
  readonly #readInto: Stored["readInto"];

  constructor(format: Stored["format"], readInto: Stored["readInto"]) {
    this.format = format;
    this.#readInto = readInto;
  }
  readInto(bytes: Uint8Array): void {
    this.#readInto(bytes);
  }
}
