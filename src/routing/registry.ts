/** @file The routers by name, with their options: what a command line or a configuration file may ask for.
 *
 *  On a command line a router is its name, or its name with options: "arrow", "arrow:temperature=1,scaleBySqrt=false". */

import * as z from "zod";
import { invariant, OptionError } from "../base/errors.ts";
import { arrow } from "./arrow.ts";
import { averageActivation } from "./average-activation.ts";
import { single, uniform } from "./baselines.ts";
import { phatgoose } from "./phatgoose.ts";
import type { Router } from "./router.ts";
import { smear } from "./smear.ts";
import { spectr } from "./spectr.ts";

const topK = z.int().min(1).default(2).meta({ description: "Experts that serve each token at each module." });
const temperature = z.number().positive().meta({ description: "What scores are divided by." });
const scaleBySqrt = z.boolean().meta({ description: "Divide scores by the square root of the module's input width too." });

/** Methods that score every expert for every token (or sequence) at every module. */
const scoring = [
  z.strictObject({ kind: z.literal("phatgoose"), topK }).meta({ description: "Each expert's trained gate against each token." }),
  z
    .strictObject({ kind: z.literal("average-activation"), topK })
    .meta({ description: "Each expert's mean activation against each token." }),
  z
    .strictObject({ kind: z.literal("arrow"), topK, temperature: temperature.default(10), scaleBySqrt: scaleBySqrt.default(true) })
    .meta({ description: "The direction each expert changes most against each token, as the PHATGOOSE authors have it." }),
  z
    .strictObject({
      kind: z.literal("arrow-peft"),
      topK: topK.default(3),
      temperature: temperature.default(1),
      scaleBySqrt: scaleBySqrt.default(false),
      seed: z.int().min(0).max(0xffffffff).default(42).meta({ description: "PEFT's rng_seed." }),
    })
    .meta({ description: "Arrow as PEFT has it." }),
  z.strictObject({ kind: z.literal("spectr"), topK }).meta({ description: "How much each expert would change each token." }),
  z
    .strictObject({ kind: z.literal("uniform"), topK: z.int().min(1).optional().meta({ description: "All, when absent." }) })
    .meta({ description: "All experts with equal weights: Merged Experts, unmerged." }),
  z
    .strictObject({ kind: z.literal("single"), expert: z.string().meta({ description: "The expert's name." }) })
    .meta({ description: "One expert for every token." }),
  z.strictObject({ kind: z.literal("smear") }).meta({ description: "Parameters averaged per sequence, by the experts' gates." }),
] as const;

/** Methods that need the whole model: inference/pool-overlay.ts opens them. */
const whole = [
  z
    .strictObject({
      kind: z.literal("merged"),
      method: z
        .enum(["average", "cat", "linear", "ties", "dare_linear", "dare_ties", "magnitude_prune"])
        .default("average")
        .meta({ description: "How experts are merged into one adapter; each weighs 1 / N." }),
      density: z.number().positive().max(1).default(0.2).meta({ description: "Share of entries kept, where a method trims or drops." }),
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
    throw new OptionError({ what: `There is no router "${name}".`, where: "--router", fix: `Use one of: ${ROUTER_NAMES.join(", ")}.` });
  }
  const own = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  const result = routerOptions.safeParse({ kind: name, ...assignments(rest.join(":")), ...own });
  if (result.success) return result.data;
  throw new OptionError({
    what: `Router ${name}: ${z.prettifyError(result.error)}`,
    where: "router options",
    fix: "Correct or leave out that option.",
  });
}

/** "temperature=1,scaleBySqrt=false" as an object; what is no number and no truth value is text. */
function assignments(text: string): Record<string, unknown> {
  const parts = text.split(",").filter((part) => part !== "");
  return Object.fromEntries(
    parts.map((part) => {
      const [key = "", ...value] = part.split("=");
      const joined = value.join("=");
      if (joined === "true" || joined === "false") return [key, joined === "true"];
      return [key, joined !== "" && Number.isFinite(Number(joined)) ? Number(joined) : joined];
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
  if (isScoring(options)) return createRouter(options);
  throw new OptionError({
    what: `Router ${options.kind} does not score experts token by token.`,
    where: "--router",
    fix: "Open the pool with it (openModel), or use another router here.",
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
      return arrow(options);
    case "arrow-peft":
      return arrow({ ...options, name: "arrow-peft", prototype: { kind: "power", seed: options.seed } });
    case "spectr":
      return spectr(options);
    case "uniform":
      return uniform(options);
    case "single":
      return single(options);
    case "smear":
      return smear();
  }
  invariant(false, `router ${JSON.stringify(options)}`);
}
