/** @file Opens a pool with a router that scores every expert for every token. */

import type { Expert } from "../adapters/expert.ts";
import { PoolError } from "../base/errors.ts";
import { RoutedPool } from "../inference/routed-pool.ts";
import { withoutGeneralKnowledge } from "../routing/general-knowledge.ts";
import type { Router } from "../routing/router.ts";
import { stackShapes } from "../routing/stack.ts";
import { withKeptPrototypes } from "../storage/kept-prototypes.ts";
import type { MethodSetting } from "./method.ts";

/** The routed pool. `general`: names of general experts, whose mean is subtracted from the others. */
export async function openRouter(
  { base, experts, where, rows, onWarning }: MethodSetting,
  router: Router,
  general?: readonly string[],
): Promise<RoutedPool> {
  const { candidates, ...joining } = general ? withoutGeneralKnowledge(experts, general, where) : { candidates: experts };
  stackShapes(candidates, base.modules, router); // refuses experts that no router supports
  checkCandidates(candidates, router, where);
  const kept = await withKeptPrototypes(router, candidates, { onWarning });
  return new RoutedPool(candidates, base.modules, { router: kept, ...joining, rows });
}

/** Refuses an expert that the router can score at no module: it could never be chosen. */
function checkCandidates(experts: readonly Expert[], router: Router, where: string | undefined): void {
  const barred = experts.find((expert) => ![...expert.adapter.modules.keys()].some((module) => router.prototype(expert, module)));
  if (!barred) return;
  throw new PoolError({
    code: "pool-expert-unscored",
    data: { expert: barred.name, router: router.name, needs: router.needs ?? "" },
    what: `Expert "${barred.name}" has nothing that router ${router.name} could score it by.`,
    ...(where !== undefined && { where }),
    fix: `${router.remedy} Or use another router, or remove it from the pool.`,
  });
}
