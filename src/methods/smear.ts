/** @file Soft merging of experts (SMEAR: Muqeeth et al. 2023, arXiv:2306.03745) as a rule over given gates, as the PHATGOOSE
 *  authors' code has it (r-three/phatgoose, src/models/addons/moe.py:744-754): one weighting per sequence and module.
 *
 *      u̅   = mean of u over the sequence
 *      s_z = LN(u̅)ᵀ LN(v_z) / sqrt(n)             LN: layer norm without affine part, epsilon 1e-5;  w = softmax of s over all experts
 *      y   = W u + (sum_z w_z B_z) (sum_z w_z A_z) u
 *
 *  A and B are averaged separately, so there are cross terms. As in the authors' code, the mean covers every position of the batch,
 *  including padding and, in a decoder, later tokens. During generation each step counts as one sequence. */

import * as z from "zod";
import { reduceMean } from "../graph/ops/reduce.ts";
import { type Comparison, comparedScores, comparisonKey } from "../routing/comparison.ts";
import type { Router } from "../routing/router.ts";
import { method } from "./method.ts";
import { openRouter } from "./open-router.ts";
import { normalize, scaleBySqrt, temperature } from "./options.ts";
import { GATES, phatgoose } from "./phatgoose.ts";

export function smear({ temperature = 1, scaleBySqrt = true, normalize = "layer" }: Partial<Comparison> = {}): Router {
  const comparison = { temperature, scaleBySqrt, normalize };
  return {
    name: "smear",
    key: `smear ${comparisonKey(comparison)}`,
    topK: Number.POSITIVE_INFINITY,
    mixes: "parameters",
    ...GATES,
    prototype: phatgoose(comparison).prototype,
    scores: (x, prototypes) => comparedScores(reduceMean(x, { axes: [1] }), prototypes, comparison),
  };
}

export const smearMethod = method({
  name: "smear",
  description: "Parameters averaged per sequence, by the experts' gates.",
  needs: "gates of every expert",
  options: z.strictObject({ temperature: temperature.default(1), scaleBySqrt: scaleBySqrt.default(true), normalize }),
  refuses: { topK: "SMEAR averages the parameters of all experts." },
  router: smear,
  open: (setting, options) => openRouter(setting, smear(options)),
});
