/** @file PHATGOOSE (Muqeeth et al. 2024, arXiv:2402.05859; reference: r-three/phatgoose, src/models/addons/moe.py:337-422).
 *
 *      ū   = (u - mean u) / sqrt(var u + 1e-5)            each token u at this module's input
 *      v̄_z = (v_z - mean v_z) / sqrt(var v_z + 1e-5)      each expert's trained gate
 *      s_z = v̄_zᵀ ū / sqrt(n)                             n = the module's input width
 *
 *  The sigmoid of gate training is not used here. An expert with an untrained gate (v = 0) scores exactly 0. The authors' code also
 *  has other comparisons (comparison.ts) and weights that do not sum to 1; they are options here. */

import * as z from "zod";
import type { Expert } from "../adapters/expert.ts";
import type { HostTensor } from "../base/tensor.ts";
import { type Comparison, comparedScores, comparisonKey, normalized } from "../routing/comparison.ts";
import { type Router, remembered } from "../routing/router.ts";
import { method } from "./method.ts";
import { openRouter } from "./open-router.ts";
import { compared } from "./options.ts";

export const GATES = { remedy: "Train its gates with trainGate.", needs: "gates" } as const;

export interface GateOptions extends Partial<Comparison> {
  readonly topK?: number;
  readonly renormalize?: boolean;
}

export function phatgoose(options: GateOptions = {}): Router {
  return comparing("phatgoose", GATES, (expert, module) => expert.gates?.get(module), options);
}

/** A router that compares each token with one vector of each expert, as PHATGOOSE does with its gate. */
export function comparing(
  name: string,
  lacking: Pick<Router, "remedy" | "needs">,
  vectorOf: (expert: Expert, module: string) => HostTensor<"float32"> | undefined,
  { topK = 2, renormalize = true, temperature = 1, scaleBySqrt = true, normalize = "layer" }: GateOptions,
): Router {
  const comparison = { temperature, scaleBySqrt, normalize };
  return {
    name,
    key: `compared ${comparisonKey(comparison)} ${renormalize}`, // the graph does not depend on which vectors are compared
    topK,
    mixes: "outputs",
    renormalize,
    ...lacking,
    prototype: remembered((expert, module) => {
      const vector = vectorOf(expert, module);
      return vector && normalized(vector, normalize);
    }),
    scores: (x, prototypes) => comparedScores(x, prototypes, comparison),
  };
}

export const phatgooseMethod = method({
  name: "phatgoose",
  description: "Each expert's trained gate against each token.",
  needs: "gates of every expert",
  options: z.strictObject(compared),
  isDefaultFor: async () => true,
  router: phatgoose,
  open: (setting, options) => openRouter(setting, phatgoose(options)),
});
