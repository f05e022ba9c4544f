/** @file Opens what is woven into a base, from files: nothing, one adapter, or a pool with a method. */

import type * as z from "zod";
import { OptionError } from "../base/errors.ts";
import { resolveModel } from "../hub/resolve-model.ts";
import { resolvePool } from "../hub/resolve-pool.ts";
import type { Model } from "../inference/model.ts";
import { openExperts } from "../inference/open.ts";
import { checkMemory, poolBytes } from "../inference/pool-memory.ts";
import type { RowChoice } from "../inference/row-choices.ts";
import { plain, singleAdapter, type Woven } from "../inference/woven.ts";
import { readMoa } from "../storage/moa.ts";
import { loadAdapter } from "../storage/peft.ts";
import { defaultMethod, hasOption, openMethod, parsedMethod, takesOneExpert, widensExperts } from "./registry.ts";
import type { wovenOptions } from "./woven-options.ts";

/** What to put on a base: nothing, one adapter, or a pool of experts under a routing method. */
export interface WovenOptions extends Readonly<z.input<typeof wovenOptions>> {
  /** How the rows of a batch choose their own experts. Default: not at all. */
  readonly rows?: RowChoice | undefined;
  /** Called before the experts of a pool are read: how many will be in memory, and their bytes. */
  readonly onPool?: ((needs: { readonly experts: number; readonly bytes: number }) => void) | undefined;
}
export interface OpenedWoven {
  readonly woven: Woven;
  /** Warnings for the user. */
  readonly warnings: readonly string[];
}

/** Reads an adapter or a pool for the model's base. */
export async function openWoven(model: Model, options: WovenOptions): Promise<OpenedWoven> {
  checkOptions(options);
  const { base, runner } = model;
  const { adapter: name, pool: poolName, router, topK, maxResident, decide, domain, rows } = options;
  if (name !== undefined) {
    const adapter = await loadAdapter(await resolveModel(name), base.modules, { fingerprint: await base.fingerprint() });
    return { woven: singleAdapter(adapter, base.modules), warnings: adapter.warnings };
  }
  if (poolName === undefined) return { woven: plain, warnings: [] };
  const pool = await resolvePool(poolName);
  const moa = () => readMoa(pool);
  const method = router ?? (await defaultMethod({ moa }));
  if (decide !== undefined && !hasOption(method, "rule")) throw noDomains(method, "decide");
  if (domain !== undefined && !hasOption(method, "domain")) throw noDomains(method, "domain");
  const choice = parsedMethod(method, { topK, rule: decide, domain });
  const experts = await openExperts(model, pool);
  const warnings: string[] = [];
  const onWarning = (warning: string) => warnings.push(warning);
  const widened = maxResident === undefined && widensExperts(method);
  if (maxResident === undefined) checkMemory(experts, { where: pool, canLoadOnDemand: takesOneExpert(method), widened });
  const resident = Math.min(experts.length, maxResident ?? experts.length);
  options.onPool?.({ experts: resident, bytes: Math.round((poolBytes(experts, { widened }) * resident) / experts.length) || 0 });
  const woven = await openMethod({ base, runner, experts, where: pool, moa, rows, maxResident, onWarning }, choice);
  return { woven, warnings: [...warnings, ...experts.flatMap((expert) => expert.warnings.map((warning) => `${expert.name}: ${warning}`))] };
}

/** Refuses contradictory options before anything is read. */
export function checkOptions({ adapter, pool, router, topK, maxResident, decide, domain, rows }: WovenOptions): void {
  if (adapter !== undefined && pool !== undefined) {
    throw new OptionError({
      code: "option-conflict",
      data: { options: ["adapter", "pool"] },
      what: "Both an adapter and a pool are given.",
      where: "adapter, pool",
      fix: "Give one of them, or add the adapter to the pool.",
    });
  }
  if (pool === undefined && rows) {
    throw needsPool(["rows"], "Rows can choose experts of a pool alone.");
  }
  if (pool === undefined && (router !== undefined || topK !== undefined)) {
    throw needsPool(["router", "topK"], "A router needs a pool of experts to choose from.");
  }
  if (pool === undefined && maxResident !== undefined) {
    throw needsPool(["maxResident"], "Only the experts of a pool can be read when they are chosen.");
  }
  if (pool === undefined && (decide !== undefined || domain !== undefined)) {
    throw needsPool(["decide", "domain"], "Domains are those of a pool with Mixture-of-LoRAs routers.");
  }
}

function noDomains(router: string, option: string): OptionError {
  return new OptionError({
    code: "option-not-for-router",
    data: { options: [option], router },
    what: `Router ${router} knows no domains.`,
    where: option,
    fix: "Leave it out, or use another router.",
  });
}

function needsPool(options: readonly string[], what: string): OptionError {
  return new OptionError({
    code: "option-needs-pool",
    data: { options },
    what,
    where: options.join(", "),
    fix: "Give a pool of experts too.",
  });
}
