/** @file Access to bytes by range: from a file, which is read only where needed, or from memory. */

import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { CheckpointError, messageOf } from "../base/errors.ts";

export interface Source {
  /** Its name in errors. */
  readonly name: string;
  readonly size: number;
  /** A copy of these bytes; all of them must exist. */
  read(offset: number, length: number): Uint8Array<ArrayBuffer>;
}

/** The error for a damaged file. */
export function damaged(where: string, what: string, cause?: unknown): CheckpointError {
  const fix = "The file is damaged, incomplete or of another format: fetch or export it again.";
  return new CheckpointError({ code: "torch-damaged", what: `Not a valid PyTorch file: ${what}`, where, fix, cause });
}

/** The error for a file that Skein refuses, though PyTorch might read it. */
export function refused(where: string, what: string, fix?: string): CheckpointError {
  const plain = "Save its plain tensors again, with torch.save(state_dict, ...) or safetensors.torch.save_file.";
  return new CheckpointError({ code: "torch-refused", what, where, fix: fix ?? plain });
}

export function bytesSource(bytes: Uint8Array, name: string): Source {
  const read = (offset: number, length: number) => {
    checkRange(name, bytes.length, offset, length);
    return new Uint8Array(bytes.subarray(offset, offset + length)); // not slice: a Buffer's slice is not a copy
  };
  return { name, size: bytes.length, read };
}

export interface FileSource extends Source {
  close(): void;
}

// One read call takes less than 2 GiB.
const PIECE = 2 ** 30;

/** Opens the file `path`; the caller closes it. */
export function fileSource(path: string): FileSource {
  const handle = failing(path, () => openSync(path, "r"));
  try {
    const stat = failing(path, () => fstatSync(handle));
    if (!stat.isFile()) throw damaged(path, "it is a folder or device.");
    const { size } = stat;
    const read = (offset: number, length: number) => {
      checkRange(path, size, offset, length);
      const bytes = new Uint8Array(length);
      for (let at = 0; at < length; ) {
        const count = failing(path, () => readSync(handle, bytes, at, Math.min(PIECE, length - at), offset + at));
        if (count === 0) throw damaged(path, `it ends at byte ${offset + at}, ${length - at} bytes too early.`);
        at += count;
      }
      return bytes;
    };
    return { name: path, size, read, close: () => closeSync(handle) };
  } catch (error) {
    closeSync(handle);
    throw error;
  }
}

function checkRange(name: string, size: number, offset: number, length: number): void {
  if (Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0 && offset + length <= size) return;
  throw damaged(name, `it claims ${length} bytes from byte ${offset} on; it has ${size} bytes.`);
}

function failing<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    const fix = "Check the path, and that you may read this file.";
    throw new CheckpointError({
      code: "checkpoint-unreadable",
      what: `Cannot read the file: ${messageOf(cause)}.`,
      where: path,
      fix,
      cause,
    });
  }
}
