/** @file PHATGOOSE (Muqeeth et al. 2024, arXiv:2402.05859; reference: r-three/phatgoose, src/models/addons/moe.py:337-422).
 *
 *      ū   = (u - mean u) / sqrt(var u + 1e-5)            each token u at this module's input
 *      v̄_z = (v_z - mean v_z) / sqrt(var v_z + 1e-5)      each expert's trained gate
 *      s_z = v̄_zᵀ ū / sqrt(n)                             n = the module's input width
 *
 *  The sigmoid of gate training is not used here. An expert whose gate never moved (v = 0) scores exactly 0. */

import type { HostTensor } from "../base/tensor.ts";
import { float32 } from "../base/tensor.ts";
import { matmul } from "../graph/ops/linalg.ts";
import { standardize } from "../graph/ops/reduce.ts";
import type { Float } from "../graph/value.ts";
import type { Router } from "./router.ts";

// Inside the square root, as in the authors' layer norm. It shrinks the scores of gates that hardly moved.
const EPSILON = 1e-5;

export const GATES = "Train its gates with skein gate.";

export function phatgoose({ topK = 2 }: { topK?: number } = {}): Router {
  return {
    name: "phatgoose",
    key: "phatgoose",
    topK,
    mixes: "outputs",
    remedy: GATES,
    prototype: (expert, module) => {
      const gate = expert.gates?.get(module);
      return gate && standardized(gate);
    },
    scores: standardizedScores,
  };
}

/** v̄_zᵀ ū / sqrt(n), from prototypes standardised on the host. x: [batch, sequence, in] -> [batch, sequence, experts] */
export function standardizedScores(x: Float, prototypes: Float): Float {
  const width = x.shape.at(-1) as number;
  // The factor rides on the layer norm's scale: products without a factor are the engine's fastest at one row.
  return matmul(standardize(x, EPSILON, 1 / Math.sqrt(width)), prototypes, { transB: true });
}

/** A gate's layer norm without affine part, once, on the host: [in] -> [1, in]. */
export function standardized(gate: HostTensor<"float32">): HostTensor<"float32"> {
  const n = gate.data.length;
  const mean = gate.data.reduce((sum, v) => sum + v, 0) / n;
  const variance = gate.data.reduce((sum, v) => sum + (v - mean) ** 2, 0) / n;
  return float32(
    [1, n],
    gate.data.map((v) => (v - mean) / Math.sqrt(variance + EPSILON)),
  );
}
