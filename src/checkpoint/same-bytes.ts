/** @file Compares the bytes of two tensors, piece by piece. */

import { open } from "node:fs/promises";
import type { TensorInfo } from "./safetensors-header.ts";

const PIECE = 2 ** 22;

/** True when both have one dtype and shape and the same bytes. */
export async function haveSameBytes(one: TensorInfo, other: TensorInfo): Promise<boolean> {
  if (one.dtype !== other.dtype || String(one.shape) !== String(other.shape)) return false;
  const handles = [await open(one.file, "r"), await open(other.file, "r")] as const;
  try {
    const [p, q] = [Buffer.alloc(Math.min(PIECE, one.bytes)), Buffer.alloc(Math.min(PIECE, one.bytes))];
    for (let at = 0; at < one.bytes; at += p.length) {
      const length = Math.min(p.length, one.bytes - at);
      await handles[0].read(p, 0, length, one.offset + at);
      await handles[1].read(q, 0, length, other.offset + at);
      if (!p.subarray(0, length).equals(q.subarray(0, length))) return false;
    }
    return true;
  } finally {
    for (const handle of handles) await handle.close();
  }
}
