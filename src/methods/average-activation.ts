/** @file Average Activation (a baseline of Muqeeth et al. 2024, arXiv:2402.05859; reference: r-three/phatgoose,
 *  src/procedures/utils/analysis_processors.py:198-244, moe.py:859-888): PHATGOOSE's routing, with a mean where the gate would be.
 *
 *      v_z = mean over the expert's examples of (mean over an example's tokens of u)     u: input of this module, expert z at work
 *      s_z = v̄_zᵀ ū / sqrt(n)                                                            bars: standardized, as in phatgoose.ts
 *
 *  Tokens are the real ones; those of the decoder are all target positions, or the last one alone ("last": what the authors'
 *  code comes to, since each decoding step overwrites what the one before had stored). EncDecAttention.k and .v read the encoder. */

import * as z from "zod";
import { add, div, mul, toFloat } from "../graph/ops/elementwise.ts";
import { unsqueeze } from "../graph/ops/movement.ts";
import { reduceSum } from "../graph/ops/reduce.ts";
import type { Float, Int } from "../graph/value.ts";
import type { Router } from "../routing/router.ts";
import { method } from "./method.ts";
import { openRouter } from "./open-router.ts";
import { compared } from "./options.ts";
import { comparing, type GateOptions } from "./phatgoose.ts";

export function averageActivation(options: GateOptions = {}): Router {
  const lacking = { remedy: "Gather its activations with gatherStatistics.", needs: "activations" } as const;
  return comparing("average-activation", lacking, (expert, module) => expert.activations?.get(module), options);
}

// Beside the sum of a mask, as the authors have it.
const EPSILON = 1e-6;

/** Each row's mean over its real tokens. x: [batch, sequence, in], real: int64 [batch, sequence] -> [batch, in] */
export function meanOfTokens(x: Float, real: Int): Float {
  const mask = unsqueeze(toFloat(real), 2);
  const sum = reduceSum(mul(x, mask), { axes: [1], keep: false });
  const count = reduceSum(mask, { axes: [1], keep: false });
  return div(sum, add(count, EPSILON));
}

export const averageActivationMethod = method({
  name: "average-activation",
  description: "Each expert's mean activation against each token.",
  needs: "statistics of every expert: mean activations",
  options: z.strictObject(compared),
  router: averageActivation,
  open: (setting, options) => openRouter(setting, averageActivation(options)),
});
