/** @file Normalizations in plain operators. */

import { add, div, mul, sqrt, square } from "../ops/elementwise.ts";
import { reduceMean } from "../ops/reduce.ts";
import type { Float } from "../value.ts";

/** x r scale and r = 1 / sqrt(mean(x^2) + epsilon), over the last axis. */
export function rmsNormOf(x: Float, scale: Float, { epsilon }: { readonly epsilon: number }): readonly [Float, Float] {
  const r = div(1, sqrt(add(reduceMean(square(x)), epsilon)));
  return [mul(mul(x, r), scale), r];
}
