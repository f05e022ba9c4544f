/** @file One named expert for every token. */

import * as z from "zod";
import type { Expert } from "../adapters/expert.ts";
import { PoolError } from "../base/errors.ts";
import type { Prompts } from "../inference/prompts.ts";
import { ResidentExperts } from "../inference/resident-experts.ts";
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

function unknown(expert: string, experts: readonly Expert[], where: string | undefined): PoolError {
  const known = experts.map(({ name }) => name);
  return new PoolError({
    code: "pool-expert-unknown",
    data: { expert, known },
    what: `The pool has no expert "${expert}".`,
    ...(where !== undefined && { where }),
    fix: `Use one of: ${known.join(", ")}.`,
  });
}

export const singleMethod = method({
  name: "single",
  description: "One expert for every token.",
  needs: "experts",
  options: z.strictObject({ expert: z.string().meta({ description: "The expert's name." }) }),
  refuses: { topK: "One expert serves every token." },
  takesOneExpert: true,
  router: single,
  open: async ({ base, experts, where, rows, maxResident }, { expert }) => {
    const index = experts.findIndex(({ name }) => name === expert);
    if (index < 0 && experts.length > 0) throw unknown(expert, experts, where);
    if (maxResident === undefined) return new RoutedPool(experts, base.modules, { router: single({ expert }), rows });
    const choose = async ({ inputIds }: Prompts) => Array.from({ length: inputIds.shape[0]! }, () => [index]);
    return new ResidentExperts(experts, base.modules, { most: maxResident, choose });
  },
});
