/** @file Average Activation (a baseline of Muqeeth et al. 2024, arXiv:2402.05859; reference: r-three/phatgoose,
 *  src/procedures/utils/analysis_processors.py:198-244, moe.py:859-888): PHATGOOSE's routing with a mean activation instead of a gate.
 *
 *      v_z = mean over the expert's examples of (mean over an example's tokens of u)     u: input of this module, with expert z active
 *      s_z = v̄_zᵀ ū / sqrt(n)                                                            bars: standardized, as in phatgoose.ts
 *
 *  Only real tokens count. In the decoder these are all target positions, or only the last one ("last": the effect of the authors'
 *  code, where each decoding step overwrites the stored value of the step before). EncDecAttention.k and .v read the encoder. */

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

// Added to the sum of a mask, as in the authors' code.
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
