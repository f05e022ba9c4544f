/** @file SpectR (Fleshman and Van Durme 2025, arXiv:2504.03454). It needs no training and no data.
 *
 *      scaling B_z A_z = U S Vᵀ          (singular value decomposition)
 *      s_z = || S Vᵀ u || = || scaling B_z A_z u ||         how much the expert would change this token u
 *  Two options, off by default, divide s_z by T and by sqrt(n).
 *
 *  Arrow keeps only the first singular vector. With rank 1 the two methods agree up to the singular value. */

import * as z from "zod";
import type { Expert } from "../adapters/expert.ts";
import { spectralFactors } from "../adapters/linalg.ts";
import { madeOnDemand } from "../base/tensor.ts";
import { sqrt, square } from "../graph/ops/elementwise.ts";
import { matmul } from "../graph/ops/linalg.ts";
import { reshape } from "../graph/ops/movement.ts";
import { reduceSum } from "../graph/ops/reduce.ts";
import { type Scaling, scaled } from "../routing/comparison.ts";
import { type Router, remembered } from "../routing/router.ts";
import { loraOf } from "../routing/stack.ts";
import { method } from "./method.ts";
import { openRouter } from "./open-router.ts";
import { scored } from "./options.ts";

export interface SpectrOptions extends Partial<Scaling> {
  readonly topK?: number;
  readonly renormalize?: boolean;
}

export function spectr({ topK = 2, renormalize = true, temperature = 1, scaleBySqrt = false }: SpectrOptions = {}): Router {
  return {
    name: "spectr",
    key: `spectr T=${temperature} sqrt=${scaleBySqrt} ${renormalize}`,
    topK,
    mixes: "outputs",
    renormalize,
    remedy: "Use LoRA experts.",
    computation: "spectr",
    prototype: remembered((expert: Expert, module: string) => {
      const lora = loraOf(expert).get(module);
      return lora && madeOnDemand(lora.a.shape, () => spectralFactors(lora.a, lora.b).sv.data.map((value) => value * lora.scaling));
    }),
    scores: (x, prototypes, rows) => {
      const products = matmul(x, prototypes, { transB: true });
      const each = reshape(products, x.shape[0]!, x.shape[1]!, "experts", rows);
      const lengths = sqrt(reduceSum(square(each), { keep: false }));
      return scaled(lengths, { temperature, scaleBySqrt }, x.shape.at(-1) as number);
    },
  };
}

export const spectrMethod = method({
  name: "spectr",
  description: "How much each expert would change each token.",
  needs: "LoRA experts",
  options: z.strictObject(scored({ topK: 2, temperature: 1, scaleBySqrt: false })),
  router: spectr,
  open: (setting, options) => openRouter(setting, spectr(options)),
});
