/** @file A router that does not depend on tokens: w_z = 1 / N over all N experts that cover the module, the mean of their outputs. If every
 *  expert covers every module, this equals Merged Experts, (1/N) sum_z B_z A_z, without merging.
 *
 *  With top-1 and a row's bias that bars all experts except one, the row uses that expert. Retrieval, an oracle, and requests that name
 *  an expert work like this. */

import * as z from "zod";
import type { Expert } from "../adapters/expert.ts";
import { float32 } from "../base/tensor.ts";
import { expand } from "../graph/ops/movement.ts";
import type { Float } from "../graph/value.ts";
import type { Router } from "../routing/router.ts";
import { method } from "./method.ts";
import { openRouter } from "./open-router.ts";
import { topK } from "./options.ts";

export const MODULES = "Use experts that cover a module of this base model.";

/** Every expert scores 0. */
export function uniform({ topK = Number.POSITIVE_INFINITY }: { readonly topK?: number | undefined } = {}): Router {
  return { name: "uniform", key: "uniform", topK, mixes: "outputs", remedy: MODULES, prototype: covering, scores: zeros };
}

/** A prototype without rows: the expert is a candidate, but it has no vector. */
export function covering(expert: Expert, module: string) {
  return expert.adapter.modules.has(module) ? float32([0, 1]) : undefined;
}

/** [batch, 1, experts] */
export function zeros(x: Float): Float {
  return expand(x.graph.constant(float32([1, 1, 1])), x.shape[0]!, 1, "experts");
}

export const uniformMethod = method({
  name: "uniform",
  description: "All experts with equal weights: Merged Experts, unmerged.",
  needs: "experts",
  options: z.strictObject({ topK: topK.optional().meta({ description: "All, when absent." }) }),
  router: uniform,
  open: (setting, options) => openRouter(setting, uniform(options)),
});
