/** @file What /openapi.json and /docs say of the routes. */

import type { OpenAPIHono, z } from "@hono/zod-openapi";
import type { Env } from "hono";
import { responsesRequest } from "./responses-schema.ts";
import * as schemas from "./schemas.ts";
import * as own from "./skein-schemas.ts";

interface Route {
  readonly method: "get" | "post";
  readonly path: string;
  readonly summary: string;
  readonly body?: z.ZodType;
}

const ROUTES: readonly Route[] = [
  { method: "post", path: "/v1/chat/completions", summary: "Answer a conversation.", body: schemas.chatRequest },
  { method: "post", path: "/v1/completions", summary: "Continue texts or token ids.", body: schemas.completionRequest },
  { method: "post", path: "/v1/responses", summary: "Answer a conversation, as items. Nothing is stored.", body: responsesRequest },
  { method: "post", path: "/v1/embeddings", summary: "Texts as vectors of unit length.", body: schemas.embeddingRequest },
  { method: "get", path: "/v1/models", summary: "The models that requests may name: base, experts, pool." },
  { method: "get", path: "/v1/models/{id}", summary: "One of them." },
  { method: "post", path: "/v1/load_lora_adapter", summary: "Serve one more adapter.", body: schemas.loadRequest },
  { method: "post", path: "/v1/unload_lora_adapter", summary: "Serve one less.", body: schemas.unloadRequest },
  { method: "post", path: "/tokenize", summary: "The token ids of a text or a conversation.", body: schemas.tokenizeRequest },
  { method: "post", path: "/detokenize", summary: "The text of token ids.", body: schemas.detokenizeRequest },
  { method: "get", path: "/tokenizer_info", summary: "The tokenizer's configuration." },
  { method: "get", path: "/skein/world", summary: "What the playground needs to know first: models, methods, limits, examples." },
  {
    method: "post",
    path: "/skein/generate",
    summary: "One answer as events: each token with its id, route and alternatives.",
    body: own.generateRequest,
  },
  { method: "post", path: "/skein/inspect", summary: "How every expert was scored, those that lost too.", body: own.inspectRequest },
  { method: "post", path: "/skein/probe", summary: "Which expert of the pool knows a text.", body: own.probeRequest },
  { method: "get", path: "/skein/pool", summary: "The pool's experts: sizes, cards, similarity, training curves." },
  { method: "get", path: "/skein/results", summary: "The results.json that the server was started with." },
  { method: "post", path: "/skein/samples", summary: "Items of a task with the answers of methods.", body: own.samplesRequest },
  { method: "get", path: "/", summary: "The playground." },
  { method: "get", path: "/health", summary: "Whether the process lives." },
  { method: "get", path: "/ready", summary: "Whether the engine answers." },
  { method: "get", path: "/metrics", summary: "Counters, in Prometheus's text form." },
];

export function describe<E extends Env>(app: OpenAPIHono<E>): void {
  for (const { method, path, summary, body } of ROUTES) {
    app.openAPIRegistry.registerPath({
      method,
      path,
      summary,
      ...(body && { request: { body: { content: { "application/json": { schema: body } }, required: true } } }),
      responses: {
        200: { description: "The answer." },
        ...(body && { 400: { description: 'A field that cannot be as it is: {"error": {"message", "type", "param", "code"}}.' } }),
      },
    });
  }
}

interface Described {
  readonly description?: string;
  readonly properties?: Readonly<Record<string, { readonly description?: string; readonly type?: unknown }>>;
}

/** A page without scripts: each route with its fields. */
export function docsPage(document: object): string {
  const { components } = document as { components?: { schemas?: Readonly<Record<string, Described>> } };
  const named = components?.schemas ?? {};
  const sections = ROUTES.map(({ method, path, summary, body }) => {
    const schema = body && Object.entries(named).find(([name]) => name === nameOf(body))?.[1];
    const fields = Object.entries(schema?.properties ?? {}).map(
      ([name, field]) =>
        `<tr><td><code>${escaped(name)}</code></td><td>${escaped(field.description ?? String(field.type ?? ""))}</td></tr>`,
    );
    const table = fields.length > 0 ? `<details><summary>Fields</summary><table>${fields.join("")}</table></details>` : "";
    return `<section><h2><code>${method.toUpperCase()} ${escaped(path)}</code></h2><p>${escaped(summary)}</p>${table}</section>`;
  });
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>Skein</title><style>body{font:16px/1.5 system-ui;max-width:46rem;margin:2rem auto;padding:0 1rem}h2{font-size:1rem;margin:1.5rem 0 0}p{margin:.2rem 0}td{padding:.1rem .8rem .1rem 0;vertical-align:top}</style><h1>Skein</h1><p>An OpenAI-compatible server. The machine-readable form is <a href="/openapi.json">/openapi.json</a>.</p>${sections.join("")}</html>`;
}

function nameOf(schema: z.ZodType): string | undefined {
  const meta = (schema as { _zod?: unknown; meta?: () => { id?: string } | undefined }).meta?.();
  return meta?.id ?? NAMES.get(schema);
}
const NAMES = new Map<z.ZodType, string>([
  [schemas.chatRequest, "ChatCompletionRequest"],
  [schemas.completionRequest, "CompletionRequest"],
  [responsesRequest, "ResponsesRequest"],
  [schemas.embeddingRequest, "EmbeddingRequest"],
  [schemas.loadRequest, "LoadAdapterRequest"],
  [schemas.unloadRequest, "UnloadAdapterRequest"],
  [schemas.tokenizeRequest, "TokenizeRequest"],
  [schemas.detokenizeRequest, "DetokenizeRequest"],
  [own.generateRequest, "SkeinGenerateRequest"],
  [own.inspectRequest, "SkeinInspectRequest"],
  [own.probeRequest, "SkeinProbeRequest"],
  [own.samplesRequest, "SkeinSamplesRequest"],
]);

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
