/** @file The number formats of safetensors files, and the conversions to and from a host tensor's array.
 *
 *  float16: base/half.ts.  bfloat16: the upper 16 bits of a float32, so reading is a shift and writing rounds to nearest, ties to even.
 *  Both are read into float32, which holds them exactly.
 *  Files are little-endian, as are all machines that ONNX Runtime supports. */

import { setFloat16 } from "@petamoriken/float16";
import { bfloat16ToFloat32, float16ToFloat32, isHalf, widened } from "../base/half.ts";
import type { FloatFormat, HostArrays, HostDType, HostTensor } from "../base/tensor.ts";

/** Bytes per number of every dtype this reader knows. */
export const DTYPE_BYTES = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  F8_E4M3: 1,
  F8_E5M2: 1,
  I64: 8,
  U64: 8,
  I32: 4,
  U32: 4,
  I16: 2,
  U16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
} as const;

/** A dtype as safetensors headers spell it. */
export type FileDType = keyof typeof DTYPE_BYTES;

export function isFileDType(name: unknown): name is FileDType {
  return typeof name === "string" && Object.hasOwn(DTYPE_BYTES, name);
}

type Decoded = { readonly [D in HostDType]: { readonly dtype: D; readonly data: HostArrays[D] } }[HostDType];

/** The host array for a tensor's bytes, which start at the beginning of `buffer`; undefined when no host dtype fits. */
export function decode(dtype: FileDType, buffer: ArrayBuffer): Decoded | undefined {
  switch (dtype) {
    case "F64":
      return { dtype: "float64", data: new Float64Array(buffer) };
    case "F32":
    case "F16":
    case "BF16":
      return { dtype: "float32", data: float32Numbers(dtype, buffer) };
    case "I64":
      return { dtype: "int64", data: new BigInt64Array(buffer) };
    case "I32":
      return { dtype: "int32", data: new Int32Array(buffer) };
    case "I16":
      return { dtype: "int32", data: Int32Array.from(new Int16Array(buffer)) };
    case "U16":
      return { dtype: "int32", data: Int32Array.from(new Uint16Array(buffer)) };
    case "U32":
      return { dtype: "int64", data: BigInt64Array.from(new Uint32Array(buffer), BigInt) };
    case "I8":
      return { dtype: "int8", data: new Int8Array(buffer) };
    case "U8":
      return { dtype: "uint8", data: new Uint8Array(buffer) };
    case "BOOL":
      return { dtype: "bool", data: new Uint8Array(buffer) };
    case "U64":
    case "F8_E4M3":
    case "F8_E5M2":
      return undefined;
  }
}

/** The numbers of a float format in float32, exactly. F32 is a view of `buffer`. */
export function float32Numbers(format: FloatFormat, buffer: ArrayBuffer): Float32Array {
  if (format === "F32") return new Float32Array(buffer);
  const bits = new Uint16Array(buffer);
  return format === "F16" ? float16ToFloat32(bits) : bfloat16ToFloat32(bits);
}

/** The safetensors name of each host dtype that is written unchanged. */
export const FILE_DTYPE: { readonly [D in HostDType]: FileDType } = {
  float32: "F32",
  float16: "F16",
  bfloat16: "BF16",
  float64: "F64",
  int64: "I64",
  int32: "I32",
  int8: "I8",
  uint8: "U8",
  bool: "BOOL",
};

/** A tensor's bytes in a file of `dtype`: its own dtype, or a 16-bit one for floats. */
export function encode(tensor: HostTensor, dtype: FileDType): Uint8Array {
  const { data } = tensor;
  if (dtype === FILE_DTYPE[tensor.dtype]) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  if (dtype === "BF16" || dtype === "F16") {
    const wide = isHalf(tensor) ? widened(tensor).data : data;
    const values = wide instanceof Float32Array ? wide : Float32Array.from(wide, Number);
    const bits = dtype === "BF16" ? float32ToBfloat16(values) : float32ToFloat16(values);
    return new Uint8Array(bits.buffer);
  }
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** float32 -> the nearest bfloat16's bits, ties to even; NaN stays NaN. */
export function float32ToBfloat16(values: Float32Array): Uint16Array<ArrayBuffer> {
  const wide = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const bits = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) {
    const word = wide[i]!;
    const notANumber = (word & 0x7fffffff) > 0x7f800000;
    // Adding just under half of the dropped part, plus the lowest kept bit, carries exactly when rounding up is due.
    bits[i] = notANumber ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
  return bits;
}

/** float32 -> the nearest float16's bits, ties to even; beyond 65,504 becomes infinity. */
export function float32ToFloat16(values: Float32Array): Uint16Array<ArrayBuffer> {
  const bits = new Uint16Array(values.length);
  const view = new DataView(bits.buffer);
  for (let i = 0; i < values.length; i++) setFloat16(view, 2 * i, values[i]!, true);
  return bits;
}
