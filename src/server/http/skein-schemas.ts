/** @file What the requests under /skein may say: those of the playground, and of whoever wants to look into routing. */

import { z } from "@hono/zod-openapi";
import { MOST_ALTERNATIVES, message, routing } from "./schemas.ts";

const ids = z.array(z.int().min(0));
const target = { model: z.string(), routing: routing.optional().openapi({ description: "How the pool's experts are chosen." }) };
const prompt = z
  .union([z.strictObject({ text: z.string() }), z.strictObject({ ids: ids.min(1) }), z.strictObject({ messages: z.array(message).min(1) })])
  .openapi({ description: "A text, token ids, or a conversation for the model's chat template." });

export const generateRequest = z
  .strictObject({
    ...target,
    prompt,
    maxTokens: z.int().min(1).optional(),
    temperature: z
      .number()
      .min(0)
      .max(2)
      .optional()
      .openapi({ description: "What the model's logits are divided by; 0 for the likeliest token." }),
    seed: z.int().optional(),
    stop: z.array(z.string().min(1)).max(16).optional(),
    forced: ids.optional().openapi({ description: "Token ids that the answer begins with; what follows is generated." }),
    top: z.int().min(0).max(MOST_ALTERNATIVES).optional().openapi({ description: "Alternatives of each token to report." }),
  })
  .openapi("SkeinGenerateRequest");

export const inspectRequest = z
  .strictObject({
    ...target,
    prompt,
    answer: ids.openapi({ description: "The answer's token ids." }),
    at: z
      .strictObject({ part: z.enum(["prompt", "answer"]), token: z.int().min(0) })
      .optional()
      .openapi({ description: "A token whose scores are wanted for every module and expert." }),
  })
  .openapi("SkeinInspectRequest");

export const probeRequest = z
  .strictObject({
    text: z.string().min(1),
    answer: z
      .string()
      .min(1)
      .optional()
      .openapi({ description: "What follows the text: its loss under each expert is told, in place of the text's own." }),
    router: z
      .string()
      .optional()
      .openapi({ description: "The router whose shares are told; phatgoose where every expert has gates, else arrow." }),
  })
  .openapi("SkeinProbeRequest");

export const samplesRequest = z
  .strictObject({
    task: z.string(),
    methods: z.array(z.string()).min(1).max(8),
    from: z.int().min(0).optional(),
    count: z.int().min(1).max(500).optional(),
  })
  .openapi("SkeinSamplesRequest");
