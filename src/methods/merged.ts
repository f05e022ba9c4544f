/** @file All experts merged into one adapter, each with weight 1 / N (adapters/merge.ts has the rules). */

import * as z from "zod";
import type { LoraAdapter } from "../adapters/adapter.ts";
import type { Expert } from "../adapters/expert.ts";
import { MERGE_METHODS, type MergeMethod, mergeAdapters } from "../adapters/merge.ts";
import { PoolError } from "../base/errors.ts";
import { singleAdapter, turnEndsOf } from "../inference/woven.ts";
import { loraOf } from "../routing/stack.ts";
import { method } from "./method.ts";

const options = z.strictObject({
  method: z.enum(MERGE_METHODS).default("average").meta({ description: "How experts are merged into one adapter; each weighs 1 / N." }),
  rank: z.int().min(1).optional().meta({ description: "Rank that average and svd methods cut to." }),
  density: z.number().positive().max(1).default(0.2).meta({ description: "Share of entries kept, where a method trims or drops." }),
  majoritySign: z.enum(["total", "frequency"]).default("total").meta({ description: "How ties elects signs: by sums, or by counting." }),
  rescale: z.boolean().default(true).meta({ description: "Whether DARE divides what it keeps by the density." }),
  seed: z.int().default(0).meta({ description: "Of what DARE drops." }),
});

/** One adapter made of all experts, each with weight 1 / N. */
export function mergedExperts(experts: readonly Expert[], merge: MergeMethod): LoraAdapter {
  if (experts.length === 0) throw new PoolError({ code: "pool-empty", what: "The pool has no experts.", fix: "Add one." });
  const adapters = experts.map((expert): LoraAdapter => ({ kind: "lora", modules: loraOf(expert), warnings: [] }));
  const weights = merge.kind === "average" ? undefined : experts.map(() => 1 / experts.length);
  return { ...mergeAdapters(adapters, merge, weights), turnEnds: turnEndsOf(experts) };
}

export const mergedMethod = method({
  name: "merged",
  description: "All experts merged into one.",
  needs: "LoRA experts",
  widensExperts: true,
  options,
  refuses: {
    topK: "Merged experts are one adapter.",
    rows: "Merged experts are one adapter: no row can choose among them.",
  },
  open: async ({ base, experts }, { method, rank, ...rule }) => {
    const merge: MergeMethod = { kind: method, ...rule, ...(rank !== undefined && { rank }) };
    return singleAdapter(mergedExperts(experts, merge), base.modules);
  },
});
