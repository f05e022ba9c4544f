/** @file Matrix products, and the rotation of pairs. */

import type { Float, Int } from "../value.ts";

interface Transposition {
  readonly transA?: boolean;
  readonly transB?: boolean;
  /** A factor on the product, free of charge. */
  readonly alpha?: number;
}

/** alpha op(a) op(b) over the last two axes, the others broadcast. */
export function matmul(a: Float, b: Float, { transA = false, transB = false, alpha = 1 }: Transposition = {}): Float {
  return a.graph.apply("MatMul", [a, b], { transA, transB, alpha })[0] as Float;
}

/** x: [batch, heads, sequence, size], its pairs (x_i, x_{i + size / 2}) turned: [x1 cos - x2 sin, x2 cos + x1 sin]. `rows`, int64
 *  [batch, sequence], names each token's row of the cosines and sines, [rows, size / 2]. */
export function rotaryEmbedding(x: Float, rows: Int, { cosines, sines }: { cosines: Float; sines: Float }): Float {
  return x.graph.apply("RotaryEmbedding", [x, rows, cosines, sines], {})[0] as Float;
}
