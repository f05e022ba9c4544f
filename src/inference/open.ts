/** @file A base model opened with what is asked for on top: nothing, one adapter, or a pool with its router. */

import type { Expert } from "../adapters/expert.ts";
import { counted } from "../base/counted.ts";
import { OptionError } from "../base/errors.ts";
import { fingerprint } from "../checkpoint/fingerprint.ts";
import { resolveModel } from "../hub/resolve-model.ts";
import type { DecisionRule } from "../routing/moa-decision.ts";
import { parsedRouter, type RouterOptions } from "../routing/registry.ts";
import type { SessionOptions } from "../runtime/session.ts";
import { hasMoa, MOA } from "../storage/moa.ts";
import { loadAdapter } from "../storage/peft.ts";
import { openPool } from "../storage/pool.ts";
import { type MoaOptions, MoaOverlay } from "./moa-overlay.ts";
import { needMoaPool } from "./moa-pool.ts";
import { loadModel, type Model } from "./model.ts";
import { singleAdapter } from "./overlay.ts";
import { type PoolOverlayOptions, poolOverlay } from "./pool-overlay.ts";

export interface OpenOptions {
  /** A folder, or a Hugging Face id. */
  readonly base: string;
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
  /** What the rows of a batch choose for themselves (PoolOverlayOptions). */
  readonly rows?: PoolOverlayOptions["rows"];
}
export interface Opened {
  readonly model: Model;
  readonly warnings: readonly string[];
}

/** Opens the model; the caller disposes it. */
export async function openModel({ base, ...options }: OpenOptions, session: SessionOptions = {}): Promise<Opened> {
  checkOptions(options);
  const model = await loadModel(base, session);
  return { model, warnings: await weaveIn(model, options) };
}

/** Puts an adapter or a routed pool on the model, and tells what a person should know about it. */
export async function weaveIn(model: Model, options: Omit<OpenOptions, "base">): Promise<readonly string[]> {
  checkOptions(options);
  const { adapter, pool, router, topK, decide, domain, rows } = options;
  if (adapter !== undefined) return wearAdapter(model, adapter);
  if (pool === undefined) return [];
  const name = router ?? ((await hasMoa(pool)) ? MOA : "phatgoose");
  if (name === MOA && topK !== undefined) {
    throw new OptionError({
      what: "Router moa takes one LoRA for a text, or for a layer.",
      where: "--top-k",
      fix: "Leave it out, or use another router.",
    });
  }
  if (name === MOA && rows) throw new OptionError({ what: "Router moa chooses a domain for each row itself.", fix: "Use another router." });
  if (name === MOA) return wearMoa(model, pool, { rule: decide, domain });
  if (decide !== undefined || domain !== undefined) throw onlyMoa(name);
  return wearPool(model, pool, parsedRouter(name, { topK }), rows);
}

function checkOptions({ adapter, pool, router, topK, decide, domain, rows }: Omit<OpenOptions, "base">): void {
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

async function wearAdapter(model: Model, name: string): Promise<readonly string[]> {
  const adapter = await loadAdapter(await resolveModel(name), model.modules, { fingerprint: await fingerprint(model.checkpoint) });
  model.overlay = singleAdapter(adapter, model.modules);
  return adapter.warnings;
}

/** All experts of the pool in `directory`, checked against the model. */
export async function openExperts(model: Model, directory: string): Promise<Expert[]> {
  const resolveHub = (id: string, revision: string) => resolveModel(`${id}@${revision}`);
  const pool = await openPool(directory, model.modules, { fingerprint: await fingerprint(model.checkpoint), resolveHub });
  return pool.loadAll();
}

async function wearPool(
  model: Model,
  directory: string,
  options: RouterOptions,
  rows: PoolOverlayOptions["rows"],
): Promise<readonly string[]> {
  const experts = await openExperts(model, directory);
  model.overlay = await poolOverlay(model, experts, options, { where: directory, rows });
  const topK = "topK" in options ? (options.topK ?? 0) : 0;
  const few =
    topK > experts.length ? [`The pool has ${counted(experts.length, "expert")}, so top-k is ${experts.length}, not ${topK}.`] : [];
  return [...few, ...experts.flatMap(({ name, warnings }) => warnings.map((warning) => `${name}: ${warning}`))];
}

async function wearMoa(model: Model, directory: string, options: MoaOptions): Promise<readonly string[]> {
  const { moa, experts, others } = await needMoaPool(model, directory, await openExperts(model, directory));
  model.overlay = new MoaOverlay(model, moa, experts, options);
  const idle = others.length > 0 ? [`Experts without a domain, not used: ${others.join(", ")}.`] : [];
  return [...idle, ...experts.flatMap(({ name, warnings }) => warnings.map((warning) => `${name}: ${warning}`))];
}

function onlyMoa(router: string): OptionError {
  return new OptionError({
    what: `Router ${router} knows no domains.`,
    where: "--decide, --domain",
    fix: `Leave them out, or use --router ${MOA}.`,
  });
}
