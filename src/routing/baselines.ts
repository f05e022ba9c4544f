/** @file Routers that look at no token.
 *
 *      uniform    w_z = 1 / N over all N experts that cover the module: the mean of their outputs. Where every expert covers
 *                 every module this is Merged Experts, (1/N) sum_z B_z A_z, unmerged.
 *      single     one named expert for every token
 *
 *  With the bias of a row, `uniform` at top-1 gives that row the expert its bias leaves open: how retrieval, an oracle, or a
 *  request that names its expert choose. */

import type { Expert } from "../adapters/expert.ts";
import { float32 } from "../base/tensor.ts";
import { expand } from "../graph/ops/movement.ts";
import type { Float } from "../graph/value.ts";
import type { Router } from "./router.ts";

const MODULES = "Use experts that cover a module of this base model.";

/** Every expert scores 0. */
export function uniform({ topK = Number.POSITIVE_INFINITY }: { readonly topK?: number | undefined } = {}): Router {
  return { name: "uniform", key: "uniform", topK, mixes: "outputs", remedy: MODULES, prototype: covering, scores: zeros };
}

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

/** A prototype without rows: the expert is a candidate, and nothing of it is scored. */
function covering(expert: Expert, module: string) {
  return expert.adapter.modules.has(module) ? float32([0, 1]) : undefined;
}

/** [batch, 1, experts] */
function zeros(x: Float): Float {
  return expand(x.graph.constant(float32([1, 1, 1])), x.shape[0]!, 1, "experts");
}
