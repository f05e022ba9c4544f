/** @file The options of merging adapters: the fields of `MergeMethod`, declared once for callers and for the command line. */

import * as z from "zod";
import { MERGE_METHODS } from "./merge.ts";

export const mergeOptions = z.strictObject({
  method: z.enum(MERGE_METHODS).default("average").meta({
    description: "How they are merged.",
    value: "name",
  }),
  weights: z
    .array(z.number())
    .optional()
    .meta({ description: "One weight per adapter.", value: "numbers", unset: "1 each; average takes none" }),
  rank: z.int().min(1).optional().meta({ description: "Rank to cut the result to (average and the svd methods).", value: "r" }),
  density: z
    .number()
    .gt(0)
    .max(1)
    .optional()
    .meta({ description: "Share of entries kept (ties, dare and magnitude_prune).", value: "share" }),
  majoritySign: z
    .enum(["total", "frequency"])
    .optional()
    .meta({ description: "ties: signs by the sum (total), or by counting (frequency).", value: "how", unset: "total" }),
  rescale: z.boolean().default(true).meta({
    description: "dare: divide the entries that are kept by the density.",
    off: "dare: keep entries as they are, as PEFT 0.12 does, instead of dividing them by the density.",
  }),
  seed: z.int().optional().meta({ description: "Seed of dare's choice.", unset: "0" }),
});
