/** @file What is put on a base, from files: nothing, one adapter, or a pool with its router. */

import type { Expert } from "../adapters/expert.ts";
import { counted } from "../base/counted.ts";
import { OptionError } from "../base/errors.ts";
import { resolveModel } from "../hub/resolve-model.ts";
import type { DecisionRule } from "../routing/moa-decision.ts";
import { parsedRouter, type RouterOptions } from "../routing/registry.ts";
import { hasMoa, MOA } from "../storage/moa.ts";
import { loadAdapter } from "../storage/peft.ts";
import { openPool } from "../storage/pool.ts";
import { needMoaPool } from "./moa-pool.ts";
import { type MoaOptions, MoaWoven } from "./moa-woven.ts";
import type { Model } from "./model.ts";
import { poolOverlay } from "./pool-overlay.ts";
import type { RowChoice } from "./row-choices.ts";
import { plain, singleAdapter, type Woven } from "./woven.ts";

export interface WovenOptions {
  /** An adapter folder (or id), used for every token. */
  readonly adapter?: string | undefined;
  /** A pool folder, whose experts `router` chooses from. */
  readonly pool?: string | undefined;
  /** A router's name; by default moa for a pool that has MoA routers, phatgoose for any other. */
  readonly router?: string | undefined;
  readonly topK?: number | undefined;
  /** Router moa: how its routers' scores decide. */
  readonly decide?: DecisionRule | undefined;
  /** Router moa: the domain of every text, where it is known. */
  readonly domain?: string | undefined;
  /** What the rows of a batch choose for themselves; they choose nothing when absent. */
  readonly rows?: RowChoice | undefined;
}
export interface OpenedWoven {
  readonly woven: Woven;
  /** What a person should know of it. */
  readonly warnings: readonly string[];
}

/** Reads an adapter or a pool for the model's base. */
export async function openWoven(model: Model, options: WovenOptions): Promise<OpenedWoven> {
  checkOptions(options);
  const { adapter, pool, router, topK, decide, domain, rows } = options;
  if (adapter !== undefined) return openAdapter(model, adapter);
  if (pool === undefined) return { woven: plain, warnings: [] };
  const name = router ?? ((await hasMoa(pool)) ? MOA : "phatgoose");
  if (name === MOA && topK !== undefined) {
    throw new OptionError({
      what: "Router moa takes one LoRA for a text, or for a layer.",
      where: "--top-k",
      fix: "Leave it out, or use another router.",
    });
  }
  if (name === MOA && rows) throw new OptionError({ what: "Router moa chooses a domain for each row itself.", fix: "Use another router." });
  if (name === MOA) return openMoa(model, pool, { rule: decide, domain });
  if (decide !== undefined || domain !== undefined) throw onlyMoa(name);
  return openRouted(model, pool, parsedRouter(name, { topK }), rows);
}

/** Refuses options that contradict each other, before anything is read. */
export function checkOptions({ adapter, pool, router, topK, decide, domain, rows }: WovenOptions): void {
  if (adapter !== undefined && pool !== undefined) {
    throw new OptionError({
      what: "Both an adapter and a pool are given.",
      fix: "Give --adapter or --pool, or add the adapter to the pool.",
    });
  }
  if (pool === undefined && rows) {
    throw new OptionError({ what: "Rows can choose experts of a pool alone.", fix: "Give --pool DIR too." });
  }
  if (pool === undefined && (router !== undefined || topK !== undefined)) {
    throw new OptionError({
      what: "A router needs a pool of experts to choose from.",
      where: "--router, --top-k",
      fix: "Give --pool DIR too.",
    });
  }
  if (pool === undefined && (decide !== undefined || domain !== undefined)) {
    throw new OptionError({
      what: "Domains are those of a pool that skein moa made.",
      where: "--decide, --domain",
      fix: "Give --pool DIR too, or leave them out.",
    });
  }
}

async function openAdapter({ base }: Model, name: string): Promise<OpenedWoven> {
  const adapter = await loadAdapter(await resolveModel(name), base.modules, { fingerprint: await base.fingerprint() });
  return { woven: singleAdapter(adapter, base.modules), warnings: adapter.warnings };
}

/** All experts of the pool in `directory`, checked against the model. */
export async function openExperts(model: Model, directory: string): Promise<Expert[]> {
  const resolveHub = (id: string, revision: string) => resolveModel(`${id}@${revision}`);
  const pool = await openPool(directory, model.base.modules, { fingerprint: await model.base.fingerprint(), resolveHub });
  return pool.loadAll();
}

async function openRouted(model: Model, directory: string, options: RouterOptions, rows: RowChoice | undefined): Promise<OpenedWoven> {
  const experts = await openExperts(model, directory);
  const woven = await poolOverlay(model, experts, options, { where: directory, rows });
  const topK = "topK" in options ? (options.topK ?? 0) : 0;
  const few =
    topK > experts.length ? [`The pool has ${counted(experts.length, "expert")}, so top-k is ${experts.length}, not ${topK}.`] : [];
  return { woven, warnings: [...few, ...warningsOf(experts)] };
}

async function openMoa(model: Model, directory: string, options: MoaOptions): Promise<OpenedWoven> {
  const { moa, experts, others } = await needMoaPool(model, directory, await openExperts(model, directory));
  const idle = others.length > 0 ? [`Experts without a domain, not used: ${others.join(", ")}.`] : [];
  return { woven: new MoaWoven(model, moa, experts, options), warnings: [...idle, ...warningsOf(experts)] };
}

function warningsOf(experts: readonly Expert[]): string[] {
  return experts.flatMap(({ name, warnings }) => warnings.map((warning) => `${name}: ${warning}`));
}

function onlyMoa(router: string): OptionError {
  return new OptionError({
    what: `Router ${router} knows no domains.`,
    where: "--decide, --domain",
    fix: `Leave them out, or use --router ${MOA}.`,
  });
}
