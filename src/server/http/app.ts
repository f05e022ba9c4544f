/** @file The routes, and what happens before and behind each of them: request id, host, key, size, log, errors. */

import { randomUUID } from "node:crypto";
import { OpenAPIHono, type z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { bodyLimit } from "hono/body-limit";
import { Cancelled, detailsOf, isBug, problemOf, RequestProblem } from "../problem.ts";
import type { ApiKeys } from "./api-keys.ts";
import { bodyOf } from "./body.ts";
import { chat } from "./chat.ts";
import { complete } from "./completions.ts";
import { describe, docsPage } from "./describe.ts";
import * as other from "./other-routes.ts";
import { PLAYGROUND_PATHS, servePlayground } from "./playground.ts";
import { respond } from "./responses.ts";
import { responsesRequest } from "./responses-schema.ts";
import * as schemas from "./schemas.ts";
import type { Caller, Service } from "./service.ts";
import { Shelf } from "./shelf.ts";
import * as own from "./skein-routes.ts";
import { generateRequest, inspectRequest, probeRequest, samplesRequest } from "./skein-schemas.ts";
import { errorBody } from "./sse.ts";

export interface AppOptions {
  readonly keys?: ApiKeys | undefined;
  /** Names that a request's Host header may have; any when absent. */
  readonly hosts?: readonly string[] | undefined;
  readonly allowsRuntimeUpdates?: boolean;
  /** Whether prompts go to the log. */
  readonly logsPrompts?: boolean;
  readonly version: string;
  /** Results and training runs to show. */
  readonly shelf?: Shelf;
}

interface Variables {
  readonly Variables: { requestId: string; client: string | undefined };
}
type Answer = Response | object;
type Handle<T> = (service: Service, caller: Caller, request: T) => Promise<Answer>;

/** Without a key: the page itself has a field for it. */
const OPEN = new Set(["/health", "/ready", ...PLAYGROUND_PATHS]);

export function createApp(service: Service, options: AppOptions): OpenAPIHono<Variables> {
  const app = new OpenAPIHono<Variables>();
  const { keys, hosts, allowsRuntimeUpdates = false, logsPrompts = false, version, shelf = new Shelf() } = options;
  const { limits, log, metrics, backend } = service;

  app.use(async (c, next) => {
    const given = c.req.header("x-request-id");
    const id = given !== undefined && /^[\w.-]{1,128}$/.test(given) ? given : randomUUID().replaceAll("-", "");
    c.set("requestId", id);
    c.header("x-request-id", id);
    const start = performance.now();
    await next();
    const { status } = c.res;
    const route = known(c.req.path);
    metrics.answered(route, status);
    const ms = Math.round(performance.now() - start);
    log.info({ requestId: id, method: c.req.method, path: route, status, ms, client: c.get("client") }, "answered");
  });
  app.use(async (c, next) => {
    const host = (c.req.header("host") ?? "").replace(/:\d+$/, "").toLowerCase();
    if (hosts && !hosts.includes(host)) {
      throw new RequestProblem({ status: 403, message: `This server does not answer for the host "${host}".`, code: "host_not_allowed" });
    }
    if (keys && !OPEN.has(c.req.path)) {
      const client = keys.nameOf(c.req.header("authorization"));
      if (client === undefined) {
        c.header("www-authenticate", "Bearer");
        throw new RequestProblem({ status: 401, message: "Incorrect API key provided.", code: "invalid_api_key" });
      }
      c.set("client", client);
    }
    await next();
  });
  app.use(
    bodyLimit({
      maxSize: limits.bodyBytes,
      onError: () => {
        throw new RequestProblem({ status: 413, message: `The body is larger than ${limits.bodyBytes} bytes.`, code: "body_too_large" });
      },
    }),
  );

  const callerOf = (c: Context<Variables>): Caller => ({ id: c.get("requestId"), client: c.get("client"), signal: c.req.raw.signal });
  const post = <T extends z.ZodType>(paths: readonly string[], schema: T, handle: Handle<z.output<T>>) => {
    for (const path of paths) {
      app.post(path, async (c) => {
        const request = await bodyOf(c, schema);
        if (logsPrompts) log.info({ requestId: c.get("requestId"), request }, "request");
        const answer = await handle(service, callerOf(c), request);
        return answer instanceof Response ? answer : c.json(answer);
      });
    }
  };
  post(["/v1/chat/completions"], schemas.chatRequest, chat);
  post(["/v1/completions"], schemas.completionRequest, complete);
  post(["/v1/responses"], responsesRequest, respond);
  post(["/v1/embeddings"], schemas.embeddingRequest, other.embed);
  post(["/tokenize", "/v1/tokenize"], schemas.tokenizeRequest, other.tokenize);
  post(["/detokenize", "/v1/detokenize"], schemas.detokenizeRequest, other.detokenize);
  post(["/skein/generate"], generateRequest, own.generateEvents);
  post(["/skein/inspect"], inspectRequest, own.inspect);
  post(["/skein/probe"], probeRequest, own.probe);
  post(["/skein/samples"], samplesRequest, (_, __, request) => own.samples(shelf, request));
  const guarded = <T>(handle: Handle<T>): Handle<T> => {
    return async (...all) => {
      if (!allowsRuntimeUpdates) throw other.runtimeUpdatesOff();
      return handle(...all);
    };
  };
  post(["/v1/load_lora_adapter"], schemas.loadRequest, guarded(other.loadAdapter));
  post(["/v1/unload_lora_adapter"], schemas.unloadRequest, guarded(other.unloadAdapter));

  app.get("/v1/models", async (c) => c.json(await other.listModels(service)));
  app.get("/v1/models/:id{.+}", async (c) => c.json(await other.oneModel(service, c.req.param("id"))));
  app.get("/skein/world", async (c) => c.json(await own.world(service, shelf, version)));
  app.get("/skein/pool", async (c) => c.json(await own.pool(service, shelf)));
  app.get("/skein/results", async (c) => c.json(await shelf.results()));
  app.get("/tokenizer_info", async (c) => c.json(await backend.tokenizerInfo()));
  app.get("/health", (c) => c.json({ status: "ok" }));
  app.get("/ready", (c) => (backend.isReady ? c.json({ status: "ready" }) : c.json({ status: "starting" }, 503)));
  app.get("/metrics", async (c) => {
    await other.listModels(service).catch(() => {}); // names that may be labels
    return c.text(await metrics.registry.metrics(), 200, { "content-type": metrics.registry.contentType });
  });
  describe(app);
  app.doc31("/openapi.json", { openapi: "3.1.0", info: { title: "Skein", version } });
  app.get("/docs", (c) => c.html(docsPage(app.getOpenAPI31Document({ openapi: "3.1.0", info: { title: "Skein", version } }))));
  servePlayground(app);

  const paths = new Set(app.routes.map(({ path }) => path));
  const known = (path: string) => (paths.has(path) ? path : path.startsWith("/v1/models/") ? "/v1/models/:id" : "other");
  app.notFound((c) => {
    const isKnown = paths.has(c.req.path);
    const what = isKnown ? `${c.req.path} does not take ${c.req.method}.` : `There is nothing at ${c.req.method} ${c.req.path}.`;
    return c.json(errorBody({ status: isKnown ? 405 : 404, message: what, code: "not_found" }), isKnown ? 405 : 404);
  });
  app.onError((error, c) => {
    const id = c.get("requestId");
    const problem = problemOf(error);
    if (isBug(error)) log.error({ requestId: id, error: detailsOf(error) }, "failed");
    if (error instanceof Cancelled) log.info({ requestId: id }, "cancelled");
    if (problem.retryAfter !== undefined) c.header("retry-after", String(problem.retryAfter));
    c.header("x-request-id", id);
    return c.json(errorBody(problem), problem.status);
  });
  return app;
}
