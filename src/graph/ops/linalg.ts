/** @file Matrix products. */

import type { Float } from "../value.ts";

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
