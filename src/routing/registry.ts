/** @file The routers by name, with their options: what a command line or a configuration file may ask for.
 *
 *  On a command line a router is its name, or its name with options: "arrow", "arrow:temperature=1,scaleBySqrt=false".
 *  Options of one name mean the same for every router that has them. */

import * as z from "zod";
import { MERGE_METHODS } from "../adapters/merge.ts";
import { invariant, OptionError } from "../base/errors.ts";
import { arrow } from "./arrow.ts";
import { averageActivation } from "./average-activation.ts";
import { single, uniform } from "./baselines.ts";
import { NORMALIZATIONS, type Scaling } from "./comparison.ts";
import { phatgoose } from "./phatgoose.ts";
import type { Router } from "./router.ts";
import { smear } from "./smear.ts";
import { spectr } from "./spectr.ts";

const topK = z.int().min(1).meta({ description: "Experts that serve each token at each module." });
const temperature = z.number().positive().meta({ description: "What scores are divided by." });
const scaleBySqrt = z.boolean().meta({ description: "Divide scores by the square root of the module's input width too." });
const renormalize = z
  .boolean()
  .default(true)
  .meta({ description: "Make a token's weights sum to 1; if not, they stay shares of the softmax over all experts." });
const normalize = z
  .enum(NORMALIZATIONS)
  .default("layer")
  .meta({ description: "What tokens and experts' vectors go through before they are compared: layer norm, unit length, nothing." });
const general = z
  .union([z.array(z.string()), z.string().transform((text) => text.split("+"))])
  .optional()
  .meta({ description: "General experts, joined by +: GenKnowSub takes their mean A and B off the others', and they are no candidates." });

/** What all routers that choose experts by scores share, with their defaults. */
const shared = (defaults: { readonly topK: number } & Scaling) => ({
  topK: topK.default(defaults.topK),
  renormalize,
  temperature: temperature.default(defaults.temperature),
  scaleBySqrt: scaleBySqrt.default(defaults.scaleBySqrt),
});
const comparing = { ...shared({ topK: 2, temperature: 1, scaleBySqrt: true }), normalize };

/** Methods that score every expert for every token (or sequence) at every module. */
const scoring = [
  z.strictObject({ kind: z.literal("phatgoose"), ...comparing }).meta({ description: "Each expert's trained gate against each token." }),
  z
    .strictObject({ kind: z.literal("average-activation"), ...comparing })
    .meta({ description: "Each expert's mean activation against each token." }),
  z
    .strictObject({
      kind: z.literal("arrow"),
      ...shared({ topK: 2, temperature: 10, scaleBySqrt: true }),
      prototype: z
        .enum(["singular", "mean"])
        .default("singular")
        .meta({ description: "An expert's vector: the direction it changes most, or the mean of A's rows." }),
      general,
    })
    .meta({ description: "The direction each expert changes most against each token, as the PHATGOOSE authors have it." }),
  z
    .strictObject({
      kind: z.literal("arrow-peft"),
      ...shared({ topK: 3, temperature: 1, scaleBySqrt: false }),
      seed: z.int().min(0).max(0xffffffff).default(42).meta({ description: "PEFT's rng_seed." }),
      general,
    })
    .meta({ description: "Arrow as PEFT has it." }),
  z
    .strictObject({ kind: z.literal("spectr"), ...shared({ topK: 2, temperature: 1, scaleBySqrt: false }) })
    .meta({ description: "How much each expert would change each token." }),
  z
    .strictObject({ kind: z.literal("uniform"), topK: topK.optional().meta({ description: "All, when absent." }) })
    .meta({ description: "All experts with equal weights: Merged Experts, unmerged." }),
  z
    .strictObject({ kind: z.literal("single"), expert: z.string().meta({ description: "The expert's name." }) })
    .meta({ description: "One expert for every token." }),
  z
    .strictObject({ kind: z.literal("smear"), temperature: temperature.default(1), scaleBySqrt: scaleBySqrt.default(true), normalize })
    .meta({ description: "Parameters averaged per sequence, by the experts' gates." }),
] as const;

/** Methods that need the whole model: inference/pool-overlay.ts opens them. */
const whole = [
  z
    .strictObject({
      kind: z.literal("merged"),
      method: z.enum(MERGE_METHODS).default("average").meta({ description: "How experts are merged into one adapter; each weighs 1 / N." }),
      rank: z.int().min(1).optional().meta({ description: "Rank that average and svd methods cut to." }),
      density: z.number().positive().max(1).default(0.2).meta({ description: "Share of entries kept, where a method trims or drops." }),
      majoritySign: z
        .enum(["total", "frequency"])
        .default("total")
        .meta({ description: "How ties elects signs: by sums, or by counting." }),
      rescale: z.boolean().default(true).meta({ description: "Whether DARE divides what it keeps by the density." }),
      seed: z.int().default(0).meta({ description: "Of what DARE drops." }),
    })
    .meta({ description: "All experts merged into one." }),
  z
    .strictObject({
      kind: z.literal("retrieval"),
      embedder: z.string().optional().meta({ description: "A BERT-like encoder; the base model's own states when absent." }),
    })
    .meta({ description: "For each text the expert whose examples it is nearest to." }),
] as const;

export const routerOptions = z.discriminatedUnion("kind", [...scoring, ...whole]);
export type RouterOptions = z.output<typeof routerOptions>;
export type ScoringOptions = z.output<(typeof scoring)[number]>;

/** Names that a router can be asked for by. */
export const ROUTER_NAMES: readonly string[] = routerOptions.options.map((option) => option.shape.kind.value);

/** The options of the router that `text` names. Those that are absent take their defaults; `given` go before the text's. */
export function parsedRouter(text: string, given: { readonly topK?: number | undefined } = {}): RouterOptions {
  const [name = "", ...rest] = text.split(":");
  if (!ROUTER_NAMES.includes(name)) {
    throw new OptionError({
      what: `There is no router "${name}".`,
      where: "--router",
      fix: `Use one of: ${ROUTER_NAMES.join(", ")}; or moa, of a pool that skein moa made.`,
    });
  }
  const own = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  const fields = routerOptions.options.find((option) => option.shape.kind.value === name)?.shape;
  const result = routerOptions.safeParse({ kind: name, ...assignments(rest.join(":"), fields ?? {}), ...own });
  if (result.success) return result.data;
  throw new OptionError({
    what: `Router ${name}: ${z.prettifyError(result.error)}`,
    where: "router options",
    fix: "Correct or leave out that option.",
  });
}

/** "temperature=1,scaleBySqrt=false" as an object; text where the field takes text, else a number or truth value. */
function assignments(text: string, fields: Readonly<Record<string, z.ZodType>>): Record<string, unknown> {
  const parts = text.split(",").filter((part) => part !== "");
  return Object.fromEntries(
    parts.map((part) => {
      const [key = "", ...rest] = part.split("=");
      const value = rest.join("=");
      if (fields[key]?.safeParse(value).success) return [key, value];
      if (value === "true" || value === "false") return [key, value === "true"];
      return [key, value !== "" && Number.isFinite(Number(value)) ? Number(value) : value];
    }),
  );
}

/** Whether a method scores experts, token by token or sequence by sequence. */
export function isScoring(options: RouterOptions): options is ScoringOptions {
  return options.kind !== "merged" && options.kind !== "retrieval";
}

/** The router that `text` names, of those that score experts. */
export function routerNamed(text: string, given: { readonly topK?: number | undefined } = {}): Router {
  const options = parsedRouter(text, given);
  if (isScoring(options) && !("general" in options && options.general)) return createRouter(options);
  throw new OptionError({
    what: isScoring(options) ? "General experts change the others." : `Router ${options.kind} does not score experts token by token.`,
    where: "--router",
    fix: "Open the pool with it (loadModel or poolOverlay), or use another router here.",
  });
}

/** The router with these options. */
export function createRouter(options: ScoringOptions): Router {
  switch (options.kind) {
    case "phatgoose":
      return phatgoose(options);
    case "average-activation":
      return averageActivation(options);
    case "arrow":
      return arrow({ ...options, prototype: { kind: options.prototype } });
    case "arrow-peft":
      return arrow({ ...options, name: "arrow-peft", prototype: { kind: "power", seed: options.seed } });
    case "spectr":
      return spectr(options);
    case "uniform":
      return uniform(options);
    case "single":
      return single(options);
    case "smear":
      return smear(options);
  }
  invariant(false, `router ${JSON.stringify(options)}`);
}
