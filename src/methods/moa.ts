/** @file Mixture-of-LoRAs (arXiv:2403.03432) as a method of pools that have its routers (routing/moa.ts has the equations,
 *  inference/moa-woven.ts the two passes). */

import * as z from "zod";
import { PoolError } from "../base/errors.ts";
import { moaPoolOf } from "../inference/moa-pool.ts";
import { MoaWoven } from "../inference/moa-woven.ts";
import { plain } from "../inference/woven.ts";
import { DECISION_RULES } from "../routing/moa-decision.ts";
import { method } from "./method.ts";

export const moaMethod = method({
  name: "moa",
  description: "Mixture-of-LoRAs: routers before the layers name the domain of each text, whose LoRA serves it.",
  needs: "routers in the pool's folder, one LoRA expert for each domain",
  options: z.strictObject({
    rule: z
      .enum(DECISION_RULES)
      .optional()
      .meta({ description: "How the routers' scores decide. Default: vote; per-layer where the routers learned without labels." }),
    domain: z.string().optional().meta({ description: "The domain of every text, where it is known; no router is asked." }),
  }),
  otherNames: Object.fromEntries(DECISION_RULES.map((rule) => [`moa-${rule}`, { rule }])),
  refuses: {
    topK: "Router moa takes one LoRA for a text, or for a layer.",
    rows: "Router moa chooses a domain for each row itself.",
  },
  hasFixedExperts: true,
  isDefaultFor: async ({ moa }) => (await moa?.()) !== undefined,
  reads: async ({ moa: read }) => {
    const moa = await read?.();
    return moa && { ...moa, routers: [...moa.routers] };
  },
  open: async ({ base, runner, experts, where, moa: read, onWarning }, options) => {
    const moa = await read?.();
    if (!moa) {
      throw new PoolError({
        code: "moa-no-routers",
        data: { pool: where ?? "" },
        what: "The pool has no Mixture-of-LoRAs routers.",
        ...(where !== undefined && { where }),
        fix: "Train them (trainMoa), or use another router.",
      });
    }
    const { experts: domains, others } = moaPoolOf(base, moa, experts, where);
    if (others.length > 0) onWarning?.(`Experts without a domain, not used: ${others.join(", ")}.`);
    return new MoaWoven({ base, runner, woven: plain }, moa, domains, options);
  },
});
