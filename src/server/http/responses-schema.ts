/** @file What POST /v1/responses may say. Nothing is stored, so nothing that needs an earlier response can be asked for. */

import { z } from "@hono/zod-openapi";
import { routing, SAMPLING, unsupported } from "./schemas.ts";

const part = z.looseObject({ type: z.enum(["input_text", "output_text", "text", "refusal"], { error: "This model reads text alone." }) });
const inputMessage = z.looseObject({
  type: z.literal("message").optional(),
  role: z.enum(["system", "developer", "user", "assistant"]),
  content: z.union([z.string(), z.array(part)]),
});
const functionCall = z.looseObject({ type: z.literal("function_call"), call_id: z.string(), name: z.string(), arguments: z.string() });
const callOutput = z.looseObject({
  type: z.literal("function_call_output"),
  call_id: z.string(),
  output: z.union([z.string(), z.array(part)]),
});
export const inputItem = z.union([functionCall, callOutput, inputMessage]);

const { temperature, top_p, top_k, min_p, seed, user, safety_identifier, prompt_cache_key, metadata, store, service_tier } = SAMPLING;

export const responsesRequest = z
  .strictObject({
    model: z.string(),
    input: z.union([z.string(), z.array(inputItem).min(1)]),
    instructions: z.string().optional(),
    max_output_tokens: z.int().min(1).optional(),
    temperature,
    top_p,
    top_k,
    min_p,
    seed,
    stream: z.boolean().optional(),
    stream_options: z.strictObject({ include_obfuscation: z.boolean().optional() }).optional(),
    tools: z
      .array(
        z.strictObject({
          type: z.literal("function", { error: "Tools are functions." }),
          name: z.string().regex(/^[\w.-]{1,128}$/),
          description: z.string().nullish(),
          parameters: z.record(z.string(), z.unknown()).nullish(),
          strict: z.boolean().nullish(),
        }),
      )
      .max(128)
      .optional(),
    tool_choice: z
      .union([z.enum(["none", "auto", "required"]), z.strictObject({ type: z.literal("function"), name: z.string() })])
      .optional(),
    parallel_tool_calls: z.boolean().optional(),
    text: z
      .strictObject({
        format: z
          .union([
            z.strictObject({ type: z.enum(["text", "json_object"]) }),
            z.strictObject({
              type: z.literal("json_schema"),
              name: z.string(),
              description: z.string().nullish(),
              schema: z.record(z.string(), z.unknown()),
              strict: z.boolean().nullish(),
            }),
          ])
          .optional(),
      })
      .optional(),
    previous_response_id: unsupported("Nothing is stored here: send the whole conversation as input."),
    include: z.array(z.string()).max(0, "Nothing more can be included.").optional(),
    truncation: z.literal("disabled", { error: "Nothing is truncated." }).optional(),
    background: z.literal(false, { error: "Answers are given at once." }).optional(),
    routing: routing.optional(),
    user,
    safety_identifier,
    prompt_cache_key,
    metadata,
    store,
    service_tier,
  })
  .openapi("ResponsesRequest");
