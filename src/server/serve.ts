/** @file A server from its options: the backend, the routes, a socket; and its end, which lets running requests finish. */

import type { Server } from "node:http";
import { serve as listen } from "@hono/node-server";
import { OptionError } from "../base/errors.ts";
import type { Backend } from "./backend.ts";
import { ApiKeys } from "./http/api-keys.ts";
import { createApp } from "./http/app.ts";
import { Metrics } from "./http/metrics.ts";
import { listModels } from "./http/other-routes.ts";
import { Load, type Log, type RequestLimits, type Service } from "./http/service.ts";
import { Shelf, type ShelfOptions } from "./http/shelf.ts";
import { stderrLog } from "./log.ts";

export interface ServeOptions {
  readonly host?: string | undefined;
  /** 0 takes any that is free. */
  readonly port?: number | undefined;
  /** File of keys; anybody may ask when absent. */
  readonly apiKeys?: string | undefined;
  /** More names that a request's Host header may have. */
  readonly hosts?: readonly string[] | undefined;
  readonly allowsRuntimeUpdates?: boolean | undefined;
  readonly logsPrompts?: boolean | undefined;
  readonly limits?: Partial<RequestLimits> | undefined;
  readonly version: string;
  /** Results and training runs that the playground shows. */
  readonly shelf?: ShelfOptions | undefined;
  readonly log?: Log | undefined;
}

export interface RunningServer {
  readonly url: string;
  readonly port: number;
  /** Takes no more requests, and ends when those that run are done or the time (milliseconds) is over. */
  close(deadline?: number): Promise<void>;
}

const LOOPBACK = ["127.0.0.1", "localhost", "[::1]", "::1"];
const LIMITS: RequestLimits = { queue: 256, maxTokens: 4096, timeout: 600_000, bodyBytes: 4 * 2 ** 20 };

export async function startServer(backend: Backend, options: ServeOptions): Promise<RunningServer> {
  const { host = "127.0.0.1", port = 8080, apiKeys, hosts = [], allowsRuntimeUpdates, logsPrompts, version } = options;
  const log = options.log ?? stderrLog();
  const given = Object.entries(options.limits ?? {}).filter(([, value]) => value !== undefined);
  const limits: RequestLimits = { ...LIMITS, ...Object.fromEntries(given) };
  const keys = apiKeys === undefined ? undefined : new ApiKeys(apiKeys, (warning) => log.warn({}, warning));
  const isLocal = LOOPBACK.includes(host);
  if (!isLocal && !keys) log.warn({ host }, "Anybody who reaches this address may ask: there are no API keys.");
  const load = new Load(limits.queue);
  const service: Service = { backend, limits, log, load, metrics: new Metrics(backend, () => load.running) };
  // A page in a browser could have its own name lead to this address; with keys it could not ask anything.
  const allowed = isLocal && !keys ? [...LOOPBACK, ...hosts] : undefined;
  await listModels(service);
  const app = createApp(service, {
    keys,
    hosts: allowed,
    allowsRuntimeUpdates: allowsRuntimeUpdates ?? false,
    logsPrompts: logsPrompts ?? false,
    version,
    shelf: new Shelf(options.shelf),
  });
  const server = await listening(app.fetch, host, port);
  const address = server.address();
  const actual = typeof address === "object" && address !== null ? address.port : port;
  return {
    port: actual,
    url: `http://${host.includes(":") ? `[${host}]` : host}:${actual}`,
    close: async (deadline = 30_000) => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, deadline);
      });
      await Promise.race([load.close(), late]);
      await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, 200).unref())]);
      clearTimeout(timer);
      server.closeAllConnections();
      await closed;
      await backend.close();
    },
  };
}

function listening(fetch: Parameters<typeof listen>[0]["fetch"], hostname: string, port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = listen({ fetch, hostname, port }, () => resolve(server as Server)) as Server;
    server.requestTimeout = 60_000; // to send a request; how long its answer takes is another limit
    server.headersTimeout = 20_000;
    server.keepAliveTimeout = 75_000; // longer than proxies and clients keep theirs, so that none sends into a connection that closes
    server.maxConnections = 4096;
    server.once("error", (cause: NodeJS.ErrnoException) => {
      const isTaken = cause.code === "EADDRINUSE";
      const what = isTaken ? `Port ${port} of ${hostname} is taken.` : `Cannot listen at ${hostname}, port ${port}: ${cause.message}.`;
      reject(new OptionError({ code: "option-invalid", data: { option: "port" }, what, fix: "Choose another port or host.", cause }));
    });
  });
}
