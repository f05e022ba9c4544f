/** @file (IA)3 experts, stacked and mixed. An (IA)3 expert multiplies, so the mixture combines factors around 1:
 *
 *      y = (1 + sum_j w_j (l_j - 1)) * (W x)      and on feed-forward modules   y = W ((1 + sum_j w_j (l_j - 1)) * x)
 *
 *  With one expert this is (IA)3. With weights that sum to 1 it is the mean of the factors, and also the mean of the outputs.
 *
 *      input   l - 1 [in]     where some expert scales the module's input
 *      output  l - 1 [out]    where some expert scales its output */

import type { Ia3Weights } from "../adapters/adapter.ts";
import { add, mul } from "../graph/ops/elementwise.ts";
import { matmul } from "../graph/ops/linalg.ts";
import { gather, unsqueeze } from "../graph/ops/movement.ts";
import { reduceSum } from "../graph/ops/reduce.ts";
import type { Float } from "../graph/value.ts";
import { type Mixed, type Mixing, WIDE } from "./mixing.ts";

export const ia3Mixing: Mixing<Ia3Weights> = {
  form: () => "",
  holding: () => WIDE,
  factors: (weights, size) => ({
    ...(weights.some(({ feedforward }) => feedforward) && { input: [size.in] }),
    ...(weights.some(({ feedforward }) => !feedforward) && { output: [size.out] }),
  }),
  fill: ({ scale, feedforward }, { vectors }) => {
    vectors[feedforward ? "input" : "output"]!.set(scale.data.map((value) => value - 1));
  },
  project: ({ x, base, mixed, shape, vector }) => {
    const scaled = (value: Float, name: string) => (shape.factors[name] ? mul(value, add(mixedChange(mixed, vector(name)), 1)) : value);
    return scaled(base(scaled(x, "input")), "output");
  },
};

/** sum_j w_j (l_j - 1): [batch, sequence or 1, width] */
function mixedChange(mixed: Mixed, changes: Float): Float {
  if (mixed.mixes === "parameters") return matmul(mixed.weights, changes);
  const chosen = gather(changes, mixed.experts); // [batch, sequence, k, width]
  return reduceSum(mul(chosen, unsqueeze(mixed.weights, 3)), { axes: [2], keep: false });
}
