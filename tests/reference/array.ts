/** @file Arrays of float64 numbers, for the slow evaluator that serves as the reference for all tests. */

import { elements, float32, type HostTensor, int64 } from "../../src/base/tensor.ts";
import type { DType } from "../../src/graph/sizes.ts";

/** Numbers in row-major order; booleans are 0 and 1. `dtype` is the graph's dtype, not the one of this array. */
export interface NdArray {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: readonly number[];
}

export function ndarray(dtype: DType, shape: readonly number[], data: readonly number[]): NdArray {
  if (data.length !== elements(shape)) throw new Error(`[${shape}] does not hold ${data.length} numbers`);
  return { dtype, shape, data };
}

/** The array whose element at each position is `at(position)`. */
export function tabulated(dtype: DType, shape: readonly number[], at: (position: readonly number[]) => number): NdArray {
  return { dtype, shape, data: positions(shape).map(at) };
}

/** Every position of a shape, in row-major order. */
export function positions(shape: readonly number[]): number[][] {
  return shape.reduce<number[][]>((rows, size) => rows.flatMap((row) => Array.from({ length: size }, (_, i) => [...row, i])), [[]]);
}

/** The index of a position in `data`. */
export function flatIndex(shape: readonly number[], position: readonly number[]): number {
  return shape.reduce((index, size, axis) => index * size + position[axis]!, 0);
}

export function elementAt({ shape, data }: NdArray, position: readonly number[]): number {
  return data[flatIndex(shape, position)]!;
}

/** The element a broadcast operand has at a position of the result: sizes of 1 repeat, leading axes may be missing. */
export function broadcastAt(array: NdArray, position: readonly number[]): number {
  const own = position.slice(position.length - array.shape.length);
  return elementAt(
    array,
    own.map((i, axis) => (array.shape[axis] === 1 ? 0 : i)),
  );
}

/** The broadcast shape of operands. */
export function broadcastShape(...shapes: readonly (readonly number[])[]): number[] {
  const rank = Math.max(...shapes.map((shape) => shape.length));
  return Array.from({ length: rank }, (_, i) => {
    const sizes = shapes.map((shape) => shape[i - rank + shape.length] ?? 1);
    return sizes.find((size) => size !== 1) ?? 1;
  });
}

/** Converts an array to a feed of a session. */
export function toHost({ dtype, shape, data }: NdArray): HostTensor {
  if (dtype === "int64") return int64(shape, data);
  if (dtype === "bool") return { dtype, shape, data: Uint8Array.from(data) };
  if (dtype === "int32") return { dtype, shape, data: Int32Array.from(data) };
  return float32(shape, data);
}

export function fromHost({ dtype, shape, data }: HostTensor): NdArray {
  return { dtype: dtype as DType, shape, data: Array.from(data as ArrayLike<number | bigint>, Number) };
}
