/** @file Reads a tensor's numbers from its storage: as one range if they are contiguous, otherwise gathered by strides. */

import { elements } from "../base/tensor.ts";
import { DTYPE_BYTES } from "../checkpoint/dtypes.ts";
import { refused } from "./source.ts";
import type { TorchTensors } from "./torch-file.ts";
import type { View } from "./values.ts";

/** The transposed numbers. */
export function transposedView(tensor: View): View {
  return { ...tensor, shape: [...tensor.shape].reverse(), stride: [...tensor.stride].reverse() };
}

export function bytesOf({ shape, dtype }: Pick<View, "shape" | "dtype">): number {
  return elements(shape) * DTYPE_BYTES[dtype];
}

/** A tensor's bytes, last axis fastest. */
export function tensorBytes(file: TorchTensors, name: string, tensor: View): Uint8Array<ArrayBuffer> {
  const { storage, offset } = tensor;
  const width = DTYPE_BYTES[tensor.dtype];
  const bytes = bytesOf(tensor);
  if (bytes === 0) return new Uint8Array(0);
  if (bytes > storage.bytes) {
    const what = `Tensor ${JSON.stringify(name)} [${tensor.shape}] repeats the ${storage.bytes} bytes of its storage (strides ${tensor.stride}).`;
    throw refused(file.name, what, "Save it again with .contiguous().");
  }
  const axes = axesOf(tensor);
  if (axes.length === 0) return file.readStorage(storage, offset * width, width);
  const span = axes.reduce((at, { length, step }) => at + (length - 1) * step, 1);
  const packed = file.readStorage(storage, offset * width, span * width);
  return span * width === bytes && isContiguous(axes) ? packed : gathered(packed, axes, width, bytes);
}

interface Axis {
  readonly length: number;
  readonly step: number;
}

/** The axes larger than 1, with axes that are contiguous in memory joined. */
function axesOf({ shape, stride }: View): Axis[] {
  const axes: Axis[] = [];
  shape.forEach((length, axis) => {
    const step = stride[axis] ?? 0;
    const before = axes.at(-1);
    if (length === 1) return;
    if (before && before.step === step * length) axes[axes.length - 1] = { length: before.length * length, step };
    else axes.push({ length, step });
  });
  return axes;
}

const isContiguous = (axes: readonly Axis[]) => axes.length === 1 && axes[0]?.step === 1;

const WORDS = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array, 8: BigUint64Array } as const;

/** Numbers are copied, not interpreted, so any dtype of the same width works. */
function gathered(
  packed: Uint8Array<ArrayBuffer>,
  axes: readonly Axis[],
  width: keyof typeof WORDS,
  bytes: number,
): Uint8Array<ArrayBuffer> {
  const result = new Uint8Array(bytes);
  const [from, to] = [new WORDS[width](packed.buffer), new WORDS[width](result.buffer)];
  const [outer, { length, step }] = [axes.slice(0, -1), axes.at(-1)!];
  const index = outer.map(() => 0);
  for (let at = 0; at < to.length; ) {
    let next = index.reduce((sum, i, axis) => sum + i * outer[axis]!.step, 0);
    for (let i = 0; i < length; i++, next += step) to[at++] = from[next]!;
    for (let axis = index.length - 1; axis >= 0; axis--) {
      index[axis] = index[axis]! + 1;
      if (index[axis]! < outer[axis]!.length) break;
      index[axis] = 0;
    }
  }
  return result;
}
