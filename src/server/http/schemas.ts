/** @file What requests may say: OpenAI's fields, those that vLLM added and clients have come to use, and `routing`. Everything else is
 *  refused by its name. */

import { z } from "@hono/zod-openapi";

export const MOST_COMPLETIONS = 128;
export const MOST_ALTERNATIVES = 20;

const ids = z.array(z.int().min(0));
/** A field that is known and refused. */
export const unsupported = (why: string) =>
  z
    .never({ error: () => why })
    .openapi({ type: "null", description: why })
    .optional();

export const routing = z
  .strictObject({
    method: z.string().optional().openapi({ description: 'A routing method, with options or without: "arrow", "arrow:temperature=1".' }),
    topK: z.int().min(1).optional().openapi({ description: "Experts that serve each token at each module." }),
    top_k: z.int().min(1).optional(),
    temperature: z.number().positive().optional().openapi({ description: "What scores are divided by." }),
    experts: z.array(z.string()).min(1).optional().openapi({ description: "Only these experts may serve." }),
  })
  .transform(({ top_k: topK, ...rest }) => ({ ...(topK !== undefined && { topK }), ...rest }));

/** Fields that change nothing here: they name the caller, or ask for what holds anyway. */
const IDLE = {
  user: z.string().optional(),
  safety_identifier: z.string().optional(),
  prompt_cache_key: z.string().optional(),
  metadata: z.record(z.string(), z.string()).optional(),
  store: z.literal(false, { error: "Nothing is stored: leave it out." }).optional(),
  service_tier: z.enum(["auto", "default"]).optional(),
};

/** What all kinds of generation share. */
export const SAMPLING = {
  model: z.string(),
  temperature: z.number().min(0).max(2).optional(),
  top_p: z.number().gt(0).max(1).optional(),
  top_k: z.int().min(-1).optional().openapi({ description: "Sample among the k likeliest tokens; 0 or -1 for all." }),
  min_p: z.number().min(0).max(1).optional(),
  frequency_penalty: z.number().min(-2).max(2).optional(),
  presence_penalty: z.number().min(-2).max(2).optional(),
  repetition_penalty: z.number().gt(0).max(10).optional(),
  logit_bias: z.record(z.string().regex(/^\d+$/, "Keys are token ids."), z.number().min(-100).max(100)).optional(),
  seed: z.int().optional(),
  stop: z.union([z.string(), z.array(z.string()).max(16)]).optional(),
  stop_token_ids: ids.max(64).optional(),
  ignore_eos: z.boolean().optional(),
  routing: routing.optional().openapi({ description: "How the pool's experts are chosen, for this request." }),
  return_routed_experts: z.boolean().optional().openapi({ description: "Report which experts served each token." }),
  ...IDLE,
};

const streaming = {
  stream: z.boolean().optional(),
  stream_options: z.strictObject({ include_usage: z.boolean().optional(), include_obfuscation: z.boolean().optional() }).optional(),
};
const n = z.int().min(1).max(MOST_COMPLETIONS).optional();

export const completionRequest = z
  .strictObject({
    ...SAMPLING,
    ...streaming,
    prompt: z.union([z.string(), ids.min(1), z.array(z.string()).min(1), z.array(ids.min(1)).min(1)]),
    max_tokens: z.int().min(0).optional(),
    n,
    best_of: z.int().min(1).optional(),
    echo: z.boolean().optional(),
    logprobs: z.int().min(0).max(MOST_ALTERNATIVES).optional(),
    suffix: unsupported("Nothing can be put behind an answer."),
  })
  .openapi("CompletionRequest");

const content = z.union([z.string(), z.array(z.looseObject({ type: z.string() }))]);
const call = z.looseObject({
  id: z.string().optional(),
  type: z.literal("function").optional(),
  function: z.looseObject({ name: z.string(), arguments: z.union([z.string(), z.record(z.string(), z.unknown())]) }),
});
export const message = z.looseObject({
  role: z.enum(["system", "developer", "user", "assistant", "tool", "function"]),
  content: content.nullish(),
  name: z.string().nullish(),
  tool_calls: z.array(call).nullish(),
  tool_call_id: z.string().nullish(),
});

const jsonSchema = z.record(z.string(), z.unknown());
export const functionTool = z.strictObject({
  type: z.literal("function", { error: "Tools are functions." }),
  function: z.looseObject({
    name: z.string().regex(/^[\w.-]{1,128}$/, "A name has letters, digits, dots, dashes and underscores alone."),
    description: z.string().nullish(),
    parameters: jsonSchema.nullish(),
    strict: z.boolean().nullish(),
  }),
});
export const toolChoice = z.union([
  z.enum(["none", "auto", "required"]),
  z.strictObject({ type: z.literal("function"), function: z.strictObject({ name: z.string() }) }),
]);
export const responseFormat = z.union([
  z.strictObject({ type: z.enum(["text", "json_object"]) }),
  z.strictObject({
    type: z.literal("json_schema"),
    json_schema: z.strictObject({
      name: z.string().optional(),
      description: z.string().nullish(),
      schema: jsonSchema,
      strict: z.boolean().nullish(),
    }),
  }),
]);

export const chatRequest = z
  .strictObject({
    ...SAMPLING,
    ...streaming,
    messages: z.array(message).min(1),
    max_tokens: z.int().min(1).optional(),
    max_completion_tokens: z.int().min(1).optional(),
    n,
    logprobs: z.boolean().optional(),
    top_logprobs: z.int().min(0).max(MOST_ALTERNATIVES).optional(),
    tools: z.array(functionTool).max(128).optional(),
    tool_choice: toolChoice.optional(),
    parallel_tool_calls: z.boolean().optional(),
    response_format: responseFormat.optional(),
    chat_template_kwargs: z.record(z.string(), z.unknown()).optional(),
    add_generation_prompt: z.boolean().optional(),
    continue_final_message: z.boolean().optional(),
    modalities: z.array(z.literal("text", { error: "This model writes text alone." })).optional(),
  })
  .openapi("ChatCompletionRequest");

export const embeddingRequest = z
  .strictObject({
    model: z.string(),
    input: z.union([z.string(), ids.min(1), z.array(z.string()).min(1).max(2048), z.array(ids.min(1)).min(1).max(2048)]),
    encoding_format: z.enum(["float", "base64"]).optional(),
    dimensions: z.int().min(1).optional(),
    routing: routing.optional(),
    user: z.string().optional(),
  })
  .openapi("EmbeddingRequest");

export const tokenizeRequest = z
  .strictObject({
    model: z.string().optional(),
    prompt: z.string().optional(),
    content: z.string().optional(),
    messages: z.array(message).min(1).optional(),
    tools: z.array(functionTool).optional(),
    add_special_tokens: z.boolean().optional(),
    add_special: z.boolean().optional(),
    add_generation_prompt: z.boolean().optional(),
    continue_final_message: z.boolean().optional(),
    chat_template_kwargs: z.record(z.string(), z.unknown()).optional(),
    return_token_strs: z.boolean().optional(),
    with_pieces: z.boolean().optional(),
  })
  .openapi("TokenizeRequest");

export const detokenizeRequest = z.strictObject({ model: z.string().optional(), tokens: ids }).openapi("DetokenizeRequest");

export const loadRequest = z
  .strictObject({
    lora_name: z.string().min(1),
    lora_path: z.string().min(1),
    join_pool: z.boolean().optional().openapi({ description: "Whether the adapter joins the routed pool; alone under its name when not." }),
  })
  .openapi("LoadAdapterRequest");
export const unloadRequest = z
  .strictObject({ lora_name: z.string().min(1), lora_int_id: z.int().optional() })
  .openapi("UnloadAdapterRequest");
