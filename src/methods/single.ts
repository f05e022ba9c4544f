/** @file One named expert for every token. */

import * as z from "zod";
import { PoolError } from "../base/errors.ts";
import { RoutedPool } from "../inference/routed-pool.ts";
import type { Router } from "../routing/router.ts";
import { method } from "./method.ts";
import { covering, MODULES, zeros } from "./uniform.ts";

/** Only `expert` is a candidate. */
export function single({ expert }: { readonly expert: string }): Router {
  return {
    name: "single",
    key: "uniform",
    topK: 1,
    mixes: "outputs",
    remedy: MODULES,
    prototype: (candidate, module) => (candidate.name === expert ? covering(candidate, module) : undefined),
    scores: zeros,
  };
}

export const singleMethod = method({
  name: "single",
  description: "One expert for every token.",
  needs: "experts",
  options: z.strictObject({ expert: z.string().meta({ description: "The expert's name." }) }),
  refuses: { topK: "One expert serves every token." },
  router: single,
  open: async ({ base, experts, where, rows }, { expert }) => {
    const pool = new RoutedPool(experts, base.modules, { router: single({ expert }), rows });
    if (pool.experts.includes(expert)) return pool;
    throw new PoolError({
      code: "pool-expert-unknown",
      data: { expert, known: pool.experts },
      what: `The pool has no expert "${expert}".`,
      ...(where !== undefined && { where }),
      fix: `Use one of: ${pool.experts.join(", ")}.`,
    });
  },
});
