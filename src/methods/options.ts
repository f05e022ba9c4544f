/** @file Options that several methods share. An option has the same meaning in every method. */

import * as z from "zod";
import { NORMALIZATIONS, type Scaling } from "../routing/comparison.ts";

export const topK = z.int().min(1).meta({ description: "Experts that serve each token at each module." });
export const temperature = z.number().positive().meta({ description: "What scores are divided by." });
export const scaleBySqrt = z.boolean().meta({ description: "Divide scores by the square root of the module's input width too." });
export const normalize = z
  .enum(NORMALIZATIONS)
  .default("layer")
  .meta({ description: "What tokens and experts' vectors go through before they are compared: layer norm, unit length, nothing." });
export const general = z
  .union([z.array(z.string()), z.string().transform((text) => text.split("+"))])
  .optional()
  .meta({ description: "General experts, joined by +: GenKnowSub takes their mean A and B off the others', and they are no candidates." });
const renormalize = z
  .boolean()
  .default(true)
  .meta({ description: "Make a token's weights sum to 1; if not, they stay shares of the softmax over all experts." });

/** The options of all routers that choose experts by scores, with their defaults. */
export const scored = (defaults: { readonly topK: number } & Scaling) => ({
  topK: topK.default(defaults.topK),
  renormalize,
  temperature: temperature.default(defaults.temperature),
  scaleBySqrt: scaleBySqrt.default(defaults.scaleBySqrt),
});

/** The options of routers that compare each token with one vector of each expert. */
export const compared = { ...scored({ topK: 2, temperature: 1, scaleBySqrt: true }), normalize };
