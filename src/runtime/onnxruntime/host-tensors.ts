/** @file Host tensors as ONNX Runtime's, and back. */

import { type HalfTensor, widened } from "../../base/half.ts";
import type { HostArrays, HostDType, HostTensor } from "../../base/tensor.ts";
import type { DType } from "../../graph/sizes.ts";
import type { Library, Ort } from "./library.ts";

// Each decoded token feeds hundreds of expert tensors again. Wrapping each of them only once saves a tenth of a small model's step.
const wrappers = new WeakMap<HostTensor, Ort.Tensor>();

/** The engine's view of a host tensor's numbers; nothing is copied. */
export function wrapped(ort: Library, feed: HostTensor): Ort.Tensor {
  const known = wrappers.get(feed);
  if (known) return known;
  const tensor = new ort.Tensor((feed.dtype === "bfloat16" ? BITS : feed.dtype) as "float32", feed.data as Float32Array, feed.shape);
  wrappers.set(feed, tensor);
  return tensor;
}

const wide = new WeakMap<HostTensor, HostTensor>();

/** A tensor in 16 bits widened, once while it is in use. */
export function inFloat32(tensor: HalfTensor): HostTensor {
  const known = wide.get(tensor) ?? widened(tensor);
  wide.set(tensor, known);
  return known;
}

/** The library's JavaScript has no bfloat16: its bits are fed as these (graph/lowering/half-feeds.ts), which nothing else is. */
const BITS = "uint16";

/** The dtype of a tensor of the library. */
export function ownDtype(dtype: string): HostDType {
  return (dtype === BITS ? "bfloat16" : dtype) as HostDType;
}

/** The dtype of what is fed to an input of this dtype. */
export function fedDtype(dtype: DType): DType {
  return dtype === BITS ? "bfloat16" : dtype;
}

/** The numbers of a tensor of the library that is on the host. */
export function hostTensor(tensor: Ort.Tensor): HostTensor {
  if (tensor.type === "float16") {
    const { buffer, byteOffset, length } = tensor.data as Uint16Array; // newer versions of Node have an array of its own for it
    return { dtype: tensor.type, shape: tensor.dims, data: new Uint16Array(buffer, byteOffset, length) };
  }
  return { dtype: ownDtype(tensor.type), shape: tensor.dims, data: tensor.data as HostArrays[HostDType] };
}
