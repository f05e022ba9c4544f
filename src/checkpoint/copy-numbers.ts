/** @file Copies the numbers of float tensors between arrays. Numbers that are still on disk are read straight into the array. */

import { elements, type HostTensor, isStored, type StoredTensor } from "../base/tensor.ts";
import { float32Numbers } from "./dtypes.ts";

/** Copies a tensor's numbers to the start of `to`. */
export function copyNumbers(tensor: HostTensor<"float32">, to: Float32Array): void {
  if (isStored(tensor)) readNumbers(tensor, to);
  else to.set(tensor.data);
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
