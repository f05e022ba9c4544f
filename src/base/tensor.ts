/** @file Host tensors: numbers in a typed array with a shape, for sessions and files. */

import { invariant } from "./errors.ts";

/** The dtypes a host tensor can hold, each with its array. Tensors that are read from files in 16 bits become float32, except in stacks of
 *  experts. */
export interface HostArrays {
  float32: Float32Array;
  /** The bits of each number, here and in bfloat16. */
  float16: Uint16Array;
  bfloat16: Uint16Array;
  float64: Float64Array;
  int64: BigInt64Array;
  int32: Int32Array;
  int8: Int8Array;
  uint8: Uint8Array;
  bool: Uint8Array;
}
/** The kinds of numbers that a tensor on the host can hold; int64 is a BigInt64Array. */
export type HostDType = keyof HostArrays;

/** `data` holds `shape`'s product of numbers, last axis fastest. */
export interface HostTensor<D extends HostDType = HostDType> {
  readonly dtype: D;
  readonly shape: readonly number[];
  readonly data: HostArrays[D];
}

/** The formats in which files hold floats. */
export type FloatFormat = "F32" | "F16" | "BF16";

/** The numbers of a tensor in the place where they are stored: a file, or bytes in memory. */
export interface Stored {
  readonly format: FloatFormat;
  /** Copies the tensor's bytes, as they are stored, to `bytes`, which has their length. */
  readInto(bytes: Uint8Array): void;
}

/** A float32 tensor that stays where it is stored. `data` reads and widens its numbers, and they are read again when they were freed. */
export interface StoredTensor extends HostTensor<"float32"> {
  readonly stored: Stored;
}

export function isStored(tensor: HostTensor): tensor is StoredTensor {
  return "stored" in tensor;
}

/** A float32 tensor whose numbers `make` computes when they are read. They are freed when memory is short, and then made again. */
export function madeOnDemand(shape: readonly number[], make: () => Float32Array): HostTensor<"float32"> {
  let made: WeakRef<Float32Array> | undefined;
  const tensor = {
    dtype: "float32" as const,
    shape,
    get data() {
      const known = made?.deref();
      if (known) return known;
      const data = make();
      made = new WeakRef(data);
      return data;
    },
  };
  makers.set(tensor, () => made?.deref() ?? make());
  return tensor;
}
const makers = new WeakMap<HostTensor, () => Float32Array>();

/** A tensor's numbers for one use. Those that `data` makes stay in memory until the program's next turn, and these do not. */
export function numbersOnce(tensor: HostTensor<"float32">): Float32Array {
  return makers.get(tensor)?.() ?? tensor.data;
}

/** The same numbers under another shape. Stored numbers stay where they are. */
export function withShape(tensor: HostTensor<"float32">, shape: readonly number[]): HostTensor<"float32"> {
  if (!isStored(tensor)) return { dtype: "float32", shape, data: tensor.data };
  const other = madeOnDemand(shape, () => tensor.data);
  return Object.defineProperty(other, "stored", { value: tensor.stored, enumerable: true });
}

/** Number of elements of a shape: the product of its sizes, 1 for a scalar. */
export function elements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** A float32 tensor; zeros when no data is given. */
export function float32(shape: readonly number[], data?: Float32Array | readonly number[]): HostTensor<"float32"> {
  const array = data === undefined ? new Float32Array(elements(shape)) : data instanceof Float32Array ? data : Float32Array.from(data);
  invariant(array.length === elements(shape), `float32 tensor of shape [${shape}] holds ${array.length} numbers`);
  return { dtype: "float32", shape, data: array };
}

/** An int64 tensor; zeros when no data is given. */
export function int64(shape: readonly number[], data?: BigInt64Array | readonly number[]): HostTensor<"int64"> {
  const array =
    data === undefined ? new BigInt64Array(elements(shape)) : data instanceof BigInt64Array ? data : BigInt64Array.from(data, BigInt);
  invariant(array.length === elements(shape), `int64 tensor of shape [${shape}] holds ${array.length} numbers`);
  return { dtype: "int64", shape, data: array };
}

/** Rows padded to `width` columns (default: the longest row's): int64 [rows, width] with 0 in padding, and a mask that is 1 for real
 *  numbers. */
export function padded(rows: readonly (readonly number[])[], { width, side = "right" }: { width?: number; side?: "left" | "right" } = {}) {
  const columns = width ?? Math.max(1, ...rows.map(({ length }) => length));
  const [ids, mask] = [int64([rows.length, columns]), int64([rows.length, columns])];
  rows.forEach((row, i) => {
    const start = i * columns + (side === "left" ? columns - row.length : 0);
    row.forEach((id, j) => {
      ids.data[start + j] = BigInt(id);
      mask.data[start + j] = 1n;
    });
  });
  return { ids, mask };
}
