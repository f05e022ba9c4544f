/** @file The options that select what is woven into a base, declared once for callers and for the command line. */

import * as z from "zod";
import { DECISION_RULES } from "../routing/moa-decision.ts";

export const wovenOptions = z.strictObject({
  adapter: z.string().optional().meta({ description: "One adapter for every token.", value: "dir" }),
  pool: z
    .string()
    .optional()
    .meta({ description: "A pool of experts, chosen among for every token: a folder, or org/name on the Hub.", value: "dir" }),
  router: z.string().optional().meta({
    description: "How experts are chosen: a method's name, with options as in arrow:temperature=1.",
    value: "name",
    unset: "moa for a pool with Mixture-of-LoRAs routers, else phatgoose",
  }),
  topK: z.int().min(1).optional().meta({ description: "Experts per token at each module.", value: "k", unset: "the router's" }),
  maxResident: z.int().min(1).optional().meta({
    description:
      "Experts in memory; the others are read when a row chooses them. For routers that take one expert a row: single, retrieval, moa.",
    value: "n",
    unset: "all",
  }),
  decide: z.enum(DECISION_RULES).optional().meta({
    description: "How the routers of a Mixture-of-LoRAs pool decide.",
    value: "rule",
    unset: "vote; per-layer where routers learned without labels",
  }),
  domain: z
    .string()
    .optional()
    .meta({ description: "The domain of every text, where it is known, for a Mixture-of-LoRAs pool.", value: "name" }),
});
