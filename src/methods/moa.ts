/** @file Mixture-of-LoRAs (arXiv:2403.03432) as a method of pools that have its routers (routing/moa.ts has the equations,
 *  inference/moa-woven.ts the two passes). */

import * as z from "zod";
import { OptionError, PoolError } from "../base/errors.ts";
import { moaPoolOf } from "../inference/moa-pool.ts";
import { MoaWoven } from "../inference/moa-woven.ts";
import type { Prompts } from "../inference/prompts.ts";
import { ResidentExperts } from "../inference/resident-experts.ts";
import { plain } from "../inference/woven.ts";
import { type LoraStack, routerOf } from "../routing/moa.ts";
import { DECISION_RULES } from "../routing/moa-decision.ts";
import { method } from "./method.ts";

const NO_LORAS: LoraStack = { shapes: new Map(), tensors: new Map() };

function adaptedStates(where: string | undefined): OptionError {
  return new OptionError({
    code: "option-not-for-router",
    data: { options: ["maxResident"], router: "moa" },
    what: "These routers read states that the domains' LoRAs have changed, so all of them must be in memory.",
    where: where ?? "maxResident",
    fix: "Leave it out, or train routers that read the base's states.",
  });
}

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
  takesOneExpert: true,
  hasFixedExperts: true,
  widensExperts: true,
  isDefaultFor: async ({ moa }) => (await moa?.()) !== undefined,
  reads: async ({ moa: read }) => {
    const moa = await read?.();
    return moa && { ...moa, routers: [...moa.routers] };
  },
  open: async ({ base, runner, experts, where, moa: read, maxResident, onWarning }, options) => {
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
    const model = { base, runner, woven: plain };
    if (maxResident === undefined) return new MoaWoven(model, moa, domains, options);
    if (moa.states !== "base") throw adaptedStates(where);
    const routers = new MoaWoven(model, moa, domains, options, NO_LORAS);
    const choose = async (prompts: Prompts) => (await routers.decide(prompts)).map((decision) => decision.domains);
    const places = { count: routers.layers.length, of: (module: string) => routerOf(module, routers.layers) };
    return new ResidentExperts(domains, base.modules, { most: maxResident, choose, places });
  },
});
