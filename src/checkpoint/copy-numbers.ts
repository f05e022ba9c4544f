/** @file Copies the numbers of float tensors between arrays. Numbers that are still on disk are read straight into the array. */

import { invariant } from "../base/errors.ts";
import { elements, type HostTensor, isStored, numbersOnce, type StoredTensor } from "../base/tensor.ts";
import { float32Numbers } from "./dtypes.ts";

/** The precision in which a tensor's numbers are stored: that of its file, or float32 in memory. */
export function precisionOf(tensor: HostTensor<"float32">): Precision {
  return isStored(tensor) ? PRECISIONS[tensor.stored.format] : "float32";
}
const PRECISIONS = { F32: "float32", F16: "float16", BF16: "bfloat16" } as const;
export type Precision = (typeof PRECISIONS)[keyof typeof PRECISIONS];

/** Copies a tensor's numbers to the start of `to`. Bits, in a Uint16Array, can only be had of a tensor that is stored in 16 bits. */
export function copyNumbers(tensor: HostTensor<"float32">, to: Float32Array | Uint16Array): void {
  if (to instanceof Uint16Array) readBits(tensor, to);
  else if (isStored(tensor)) readNumbers(tensor, to);
  else to.set(numbersOnce(tensor));
}

/** A tensor's numbers until the next call: stored ones are read into an array that all calls share. */
export function borrowedNumbers(tensor: HostTensor<"float32">): Float32Array {
  if (!isStored(tensor)) return numbersOnce(tensor);
  const count = elements(tensor.shape);
  const numbers = new Float32Array(room(4 * count), 0, count);
  readNumbers(tensor, numbers);
  return numbers;
}

/** The bits of a tensor that is stored in 16 bits, until the next call. */
export function borrowedBits(tensor: HostTensor<"float32">): Uint16Array {
  const count = elements(tensor.shape);
  const bits = new Uint16Array(room(2 * count), 0, count);
  readBits(tensor, bits);
  return bits;
}

let shared = new ArrayBuffer(0);
function room(bytes: number): ArrayBuffer {
  if (shared.byteLength < bytes) shared = new ArrayBuffer(bytes);
  return shared;
}

function readBits(tensor: HostTensor<"float32">, to: Uint16Array): void {
  invariant(isStored(tensor) && tensor.stored.format !== "F32", "only numbers that are stored in 16 bits have such bits");
  tensor.stored.readInto(new Uint8Array(to.buffer, to.byteOffset, 2 * elements(tensor.shape)));
}

function readNumbers({ shape, stored }: StoredTensor, to: Float32Array): void {
  const count = elements(shape);
  if (stored.format === "F32") {
    stored.readInto(new Uint8Array(to.buffer, to.byteOffset, 4 * count));
    return;
  }
  const bits = new Uint8Array(2 * count);
  stored.readInto(bits);
  to.set(float32Numbers(stored.format, bits.buffer));
}
