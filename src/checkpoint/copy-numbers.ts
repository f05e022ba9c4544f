/** @file Copies the numbers of float tensors between arrays. Numbers that are still on disk are read straight into the array. */

import { invariant } from "../base/errors.ts";
import { elements, type HostTensor, isStored, type StoredTensor } from "../base/tensor.ts";
import { float32Numbers } from "./dtypes.ts";

/** Copies a tensor's numbers to the start of `to`. Bits of float16, in a Uint16Array, can only be had of a tensor that is stored as them. */
export function copyNumbers(tensor: HostTensor<"float32">, to: Float32Array | Uint16Array): void {
  if (to instanceof Uint16Array) readBits(tensor, to);
  else if (isStored(tensor)) readNumbers(tensor, to);
  else to.set(tensor.data);
}

/** Whether the tensor is stored in float16. */
export function isFloat16(tensor: HostTensor): boolean {
  return isStored(tensor) && tensor.stored.format === "F16";
}

/** The bits of a tensor that is stored in float16. */
export function float16Bits(tensor: HostTensor<"float32">): Uint16Array {
  const bits = new Uint16Array(elements(tensor.shape));
  readBits(tensor, bits);
  return bits;
}

function readBits(tensor: HostTensor<"float32">, to: Uint16Array): void {
  invariant(isStored(tensor) && tensor.stored.format === "F16", "only numbers that are stored in float16 have its bits");
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
