/** @file Matrix products, and the rotation of pairs. */

import { float32 } from "../../base/tensor.ts";
import type { Float, Int, Value } from "../value.ts";

interface Transposition {
  readonly transA?: boolean;
  readonly transB?: boolean;
  /** A factor on the product; it costs no extra node. */
  readonly alpha?: number;
}

/** alpha op(a) op(b) over the last two axes, the others broadcast. */
export function matmul(a: Float, b: Float, { transA = false, transB = false, alpha = 1 }: Transposition = {}): Float {
  return a.graph.apply("MatMul", [a, b], { transA, transB, alpha })[0] as Float;
}

/** Rotates the pairs (x_i, x_{i + size / 2}) of x [batch, heads, sequence, size]: [x1 cos - x2 sin, x2 cos + x1 sin]. `rows`, int64
 *  [batch, sequence], is each token's row in the tables of cosines and sines, [rows, size / 2]. */
export function rotaryEmbedding(x: Float, rows: Int, { cosines, sines }: { cosines: Float; sines: Float }): Float {
  return x.graph.apply("RotaryEmbedding", [x, rows, cosines, sines], {})[0] as Float;
}

export interface Int8Weight {
  /** [out]; all 1 when absent. */
  readonly scales?: Float;
  /** The transposed weight, int8 [out, in]. With it, gradients are products in 8 bits too. */
  readonly backward?: Value<"int8"> | undefined;
}
/** x W in 8 bits, W int8 [in, out] with a scale per column. x: [..., in] -> [..., out] */
export function int8Matmul(x: Float, values: Value<"int8">, { scales, backward }: Int8Weight = {}): Float {
  const out = values.shape[1] as number;
  const ones = () => x.graph.constant(float32([out], new Float32Array(out).fill(1)));
  return x.graph.apply("Int8MatMul", [x, values, scales ?? ones(), ...(backward ? [backward] : [])], {})[0] as Float;
}

export interface Int4Weight {
  /** uint8 [out, blocks, block / 2], two adjacent values per byte */
  readonly values: Value<"uint8">;
  /** [out, blocks] */
  readonly scales: Float;
  /** The zero point of each block: 4 bits, two per byte, in uint8 [out, ceil(blocks / 2)]; 8 for all when absent. */
  readonly zeros?: Value<"uint8"> | undefined;
  /** `values` and `zeros` as uint4, [out, blocks * block] and [out, 2 ceil(blocks / 2)]; needed only for a gradient. */
  readonly numbers?: Value<"uint4"> | undefined;
  readonly zeroNumbers?: Value<"uint4"> | undefined;
}
/** x Wᵀ for W [out, in] in blocks of 4 bits. x: [..., in] -> [..., out] */
export function int4Matmul(
  x: Float,
  { values, scales, zeros, numbers, zeroNumbers }: Int4Weight,
  size: { readonly in: number; readonly out: number },
): Float {
  const block = 2 * (values.shape[2] as number);
  return x.graph.apply("MatMulNBits", [x, values, scales, zeros, numbers, zeroNumbers], { in: size.in, out: size.out, block })[0] as Float;
}
