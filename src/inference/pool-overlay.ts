/** @file What a pool becomes under a routing method: scores for every token, one merged adapter, or an expert for each row. */

import type { LoraAdapter } from "../adapters/adapter.ts";
import type { Expert } from "../adapters/expert.ts";
import { type MergeMethod, mergeAdapters } from "../adapters/merge.ts";
import type { ModuleSizes } from "../adapters/modules.ts";
import { OptionError, PoolError } from "../base/errors.ts";
import { withoutGeneralKnowledge } from "../routing/general-knowledge.ts";
import { createRouter, isScoring, type RouterOptions } from "../routing/registry.ts";
import type { Router } from "../routing/router.ts";
import { loraOf } from "../routing/stack.ts";
import { baseEmbedder, textEmbedder } from "./embedder.ts";
import type { Model } from "./model.ts";
import { retrievalPool } from "./retrieval.ts";
import { RoutedPool } from "./routed-pool.ts";
import type { RowChoice } from "./row-choices.ts";
import { singleAdapter, type Woven } from "./woven.ts";

type MergedOptions = Extract<RouterOptions, { readonly kind: "merged" }>;

export interface PoolOverlayOptions {
  /** The pool's folder, for messages. */
  readonly where?: string;
  /** What rows choose for themselves; they choose nothing when absent, but for what the method needs. */
  readonly rows?: RowChoice | undefined;
}

/** The overlay of `experts` under a method. An expert that the method could never choose is an error that names it, and `where`. */
export async function poolOverlay(
  model: Model,
  experts: readonly Expert[],
  options: RouterOptions,
  { where, rows }: PoolOverlayOptions = {},
): Promise<Woven> {
  if (isScoring(options)) {
    const router = createRouter(options);
    const general = "general" in options ? options.general : undefined;
    const { candidates, ...joining } = general ? withoutGeneralKnowledge(experts, general, where) : { candidates: experts };
    const pool = new RoutedPool(candidates, model.base.modules, { router, ...joining, ...(rows && { rows }) }); // refuses what no router could serve
    if (options.kind === "single") checkNamed(candidates, options.expert, where);
    else checkCandidates(candidates, router, where);
    return pool;
  }
  if (options.kind === "merged") {
    if (rows) throw new OptionError({ what: "Merged experts are one adapter: no row can choose among them.", fix: "Use another router." });
    return mergedPool(experts, model.base.modules, options);
  }
  const { embedder } = options;
  return retrievalPool(
    model.base.modules,
    experts,
    embedder === undefined ? baseEmbedder(model) : await textEmbedder(embedder, model, await model.base.tokenizer()),
    rows,
  );
}

/** One adapter of all experts, each weighing 1 / N. */
export function mergedPool(experts: readonly Expert[], sizes: ModuleSizes, options: MergedOptions): Woven {
  return singleAdapter(mergedExperts(experts, options), sizes);
}

function mergedExperts(experts: readonly Expert[], { kind: _, method, rank, ...rule }: MergedOptions): LoraAdapter {
  if (experts.length === 0) throw new PoolError({ what: "The pool has no experts.", fix: "Add one: skein pool add POOL EXPERT." });
  const adapters = experts.map((expert): LoraAdapter => ({ kind: "lora", modules: loraOf(expert), warnings: [] }));
  const merge: MergeMethod = { kind: method, ...rule, ...(rank !== undefined && { rank }) };
  if (method === "average") return mergeAdapters(adapters, merge);
  const weights = experts.map(() => 1 / experts.length);
  return mergeAdapters(adapters, merge, weights);
}

/** An expert that the router can score at no module would sit in the pool and never be chosen. */
function checkCandidates(experts: readonly Expert[], router: Router, where: string | undefined): void {
  const barred = experts.find((expert) => ![...expert.adapter.modules.keys()].some((module) => router.prototype(expert, module)));
  if (!barred) return;
  throw new PoolError({
    what: `Expert "${barred.name}" has nothing that router ${router.name} could score it by.`,
    ...(where !== undefined && { where }),
    fix: `${router.remedy} Or use another router, or remove it from the pool.`,
  });
}

function checkNamed(experts: readonly Expert[], name: string, where: string | undefined): void {
  if (experts.some((expert) => expert.name === name)) return;
  const fix = `Use one of: ${experts.map((expert) => expert.name).join(", ")}.`;
  throw new PoolError({ what: `The pool has no expert "${name}".`, ...(where !== undefined && { where }), fix });
}
