/** @file Copies the numbers of float tensors between arrays. Numbers that are still on disk are read straight into the array. */

import { type HostTensor, isStored } from "../base/tensor.ts";
import { float32Numbers } from "./dtypes.ts";

/** Copies a tensor's numbers to the start of `to`, which holds zeros where it is longer. */
export function copyNumbers(tensor: HostTensor<"float32">, to: Float32Array): void {
  const count = tensor.shape.reduce((product, size) => product * size, 1);
  if (!isStored(tensor)) return to.set(tensor.data);
  const { format } = tensor.stored;
  if (format === "F32") return tensor.stored.readInto(new Uint8Array(to.buffer, to.byteOffset, 4 * count));
  const bits = new Uint8Array(2 * count);
  tensor.stored.readInto(bits);
  to.set(float32Numbers(format, bits.buffer));
}
