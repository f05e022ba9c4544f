/** @file The smaller routes: models, embeddings, the tokenizer, adapters that come and go. */

import type { z } from "zod";
import type { PromptInput, ServedModel } from "../backend.ts";
import { badField, RequestProblem, unknownModel } from "../problem.ts";
import { promptsOf } from "./completions.ts";
import { routingOf } from "./sampling.ts";
import type { detokenizeRequest, embeddingRequest, loadRequest, tokenizeRequest, unloadRequest } from "./schemas.ts";
import type { Caller, Service } from "./service.ts";

export async function listModels({ backend, metrics }: Service) {
  const models = await backend.models();
  metrics.know(models.map(({ id }) => id));
  return { object: "list", data: models.map(modelCard) };
}
export async function oneModel(service: Service, id: string) {
  const { data } = await listModels(service);
  const card = data.find((one) => one.id === id);
  if (!card)
    throw unknownModel(
      id,
      data.map((one) => one.id),
    );
  return card;
}

function modelCard({ id, kind, parent, root, created, contextLength, experts }: ServedModel) {
  return {
    id,
    object: "model",
    created,
    owned_by: "skein",
    root,
    parent: parent ?? null,
    max_model_len: contextLength ?? null,
    skein: { kind, ...(experts && { experts }) },
  };
}

export async function embed(service: Service, _: Caller, request: z.output<typeof embeddingRequest>) {
  const { model, input, encoding_format: format = "float", dimensions } = request;
  const prompts = promptsOf(input);
  const giveBack = service.load.take(Math.min(prompts.length, 16)); // so many are computed side by side
  try {
    const { vectors, promptTokens } = await service.backend.embed({ model, routing: routingOf(request.routing), prompts });
    const width = vectors[0]?.length ?? 0;
    if (dimensions !== undefined && dimensions !== width) throw badField("dimensions", `This model's vectors have ${width} numbers.`);
    const data = vectors.map((vector, index) => ({
      object: "embedding",
      index,
      embedding: format === "float" ? [...vector] : Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString("base64"),
    }));
    return { object: "list", data, model, usage: { prompt_tokens: promptTokens, total_tokens: promptTokens } };
  } finally {
    giveBack();
  }
}

export async function tokenize({ backend }: Service, _: Caller, request: z.output<typeof tokenizeRequest>) {
  const { prompt, content, messages, tools, add_special_tokens: added = true, add_special: alsoAdded = added } = request;
  const text = prompt ?? content; // llama.cpp says content
  if ((text === undefined) === (messages === undefined)) throw badField("prompt", "Give prompt (or content), or messages.");
  const continuesLast = request.continue_final_message ?? false;
  const opensTurn = request.add_generation_prompt ?? true;
  const input: PromptInput =
    text !== undefined
      ? { text }
      : { chat: { messages: messages as never, tools, templateVariables: request.chat_template_kwargs, opensTurn, continuesLast } };
  const { tokens, texts, contextLength } = await backend.tokenize({ prompt: input, addSpecialTokens: alsoAdded });
  const withTexts = request.return_token_strs === true || request.with_pieces === true;
  return { count: tokens.length, max_model_len: contextLength ?? null, tokens, token_strs: withTexts ? texts : null };
}

export async function detokenize({ backend }: Service, _: Caller, { tokens }: z.output<typeof detokenizeRequest>) {
  const text = await backend.detokenize(tokens);
  return { prompt: text, content: text };
}

export async function loadAdapter(service: Service, _: Caller, request: z.output<typeof loadRequest>) {
  const { lora_name: name, lora_path: path, join_pool: joinsPool = false } = request;
  await service.backend.addExpert({ name, path, joinsPool });
  await listModels(service);
  return { status: "ok", message: `LoRA adapter '${name}' added successfully.` };
}
export async function unloadAdapter(service: Service, _: Caller, { lora_name: name }: z.output<typeof unloadRequest>) {
  await service.backend.removeExpert(name);
  return { status: "ok", message: `LoRA adapter '${name}' removed successfully.` };
}

export function runtimeUpdatesOff(): RequestProblem {
  const message = "Adapters cannot be loaded or unloaded at run time: this server was started without runtime updates.";
  return new RequestProblem({ status: 403, message, code: "runtime_updates_off" });
}
