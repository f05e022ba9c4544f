/** @file `skein serve`: an OpenAI-compatible server for a base, its experts and a pool. */

import { setFlagsFromString } from "node:v8";
import type { Command } from "commander";
import * as z from "zod";
import { counted } from "../../base/counted.ts";
import { OptionError } from "../../base/errors.ts";
import { packageVersion } from "../../storage/version.ts";
import { subcommand } from "../command.ts";
import { baseModel } from "../common-options.ts";
import { type CommonFlags, type Io, show } from "../io.ts";
import { openBrowser } from "../open-browser.ts";
import { downloadProgress } from "../progress.ts";
import { type FlagRules, optionsFrom, withOptions } from "../schema-options.ts";

/** Flags that a command has which serves what it made. */
export const portFlag = {
  port: z.int().min(0).max(65535).default(8080).meta({ description: "The port; 0 for any that is free." }),
};

const serveFlags = z.strictObject({
  ...baseModel,
  pool: z
    .string()
    .optional()
    .meta({ description: "A pool whose experts are chosen for every token: a folder, or org/name on the Hub.", value: "dir" }),
  adapter: z
    .array(z.string())
    .optional()
    .meta({ description: "An adapter to serve alone: its name, and its folder.", value: "name=dir", variadic: true }),
  host: z.string().default("127.0.0.1").meta({ description: "The address to listen at.", value: "address" }),
  ...portFlag,
  baseName: z.string().optional().meta({ description: "The base's name in requests.", unset: "that of its folder" }),
  poolName: z.string().optional().meta({ description: "The pool's name in requests.", unset: "that of its folder" }),
  methods: z
    .array(z.string())
    .optional()
    .meta({ description: "Routing methods to open at once and to list as POOL:METHOD; requests may name any." }),
  apiKeys: z
    .string()
    .optional()
    .meta({ description: "A file of keys, one a line: KEY, or NAME KEY; a key may be sha256:HEX.", value: "file" }),
  allowHost: z.array(z.string()).optional().meta({ description: "More host names that requests may be for.", value: "names" }),
  allowRuntimeUpdates: z.boolean().default(false).meta({ description: "Let requests load and unload adapters." }),
  adapterRoot: z.string().optional().meta({ description: "The folder that such adapters must lie in.", value: "dir" }),
  maxTokens: z.int().min(1).default(4096).meta({ description: "Most tokens of one completion." }),
  context: z.int().min(16).optional().meta({ description: "Most tokens of a prompt and its answer.", unset: "the model's" }),
  maxQueue: z.int().min(1).default(256).meta({ description: "Most completions that run or wait; more are told to come back." }),
  parallel: z.int().min(1).default(64).meta({ description: "Most completions that run side by side." }),
  cacheMb: z.int().min(16).default(2048).meta({ description: "Most megabytes of keys and values of running completions." }),
  timeout: z.int().min(1).default(600).meta({ description: "Seconds that one request may take." }),
  drain: z.int().min(0).default(30).meta({ description: "Seconds that running requests have to end when the server is stopped." }),
  results: z.string().optional().meta({
    description: "Show this evaluation in the playground: the folder that skein eval --out wrote, or its results.json.",
    value: "path",
  }),
  runs: z.string().optional().meta({ description: "Show the learning curves of the training runs in this folder.", value: "dir" }),
  logPrompts: z.boolean().default(false).meta({ description: "Write requests into the log." }),
});
type Flags = CommonFlags & z.output<typeof serveFlags>;
const RULES: FlagRules = {};
/** How much the heap may grow over what a collection left, in percent. V8 alone would let it grow to three times that. */
const HEAP_GROWTH = 40;

export function addServe(program: Command, io: Io, summary: string): void {
  const command = subcommand(program, "serve", { summary, example: "skein serve --base models/base --pool my-pool --port 8080" });
  withOptions(command, serveFlags, RULES).action(async (flags: Flags) =>
    serve(io, { ...serveFlags.parse(optionsFrom(serveFlags, flags, RULES)), json: flags.json }),
  );
}

/** Serves a pool that a command has made, until somebody stops it, and opens its page for a person at a terminal. */
export async function servePlayground(
  io: Io,
  { json }: CommonFlags,
  made: { readonly base: string; readonly pool: string; readonly results: string; readonly runs: string; readonly port: number },
): Promise<void> {
  await serve(io, { ...serveFlags.parse(made), json }, (url) => {
    if (io.terminal && !json) openBrowser(`${url}/`);
  });
}

async function serve(io: Io, flags: Flags, onServing: (url: string) => void = () => {}): Promise<void> {
  setFlagsFromString(`--heap-growing-percent=${HEAP_GROWTH}`);
  const { stderrLog } = await import("../../server/log.ts");
  const { checkFolders } = await import("../../server/open-engine.ts");
  const { ProcessBackend } = await import("../../server/process-backend.ts");
  const { startServer } = await import("../../server/serve.ts");
  const { resolvePool } = await import("../../hub/resolve-pool.ts");
  const pool = flags.pool === undefined ? undefined : await resolvePool(flags.pool, { onProgress: downloadProgress(io, flags) });
  // The folder in the cache is named after the commit.
  const poolName = flags.poolName ?? (pool === flags.pool ? undefined : flags.pool?.replace(/@.*/, "").split("/").at(-1));
  const { base: root, baseName, methods, precision, device, adapterRoot, context: contextLength, parallel, cacheMb } = flags;
  const log = stderrLog();
  const engine = {
    ...{ base: root, name: baseName, pool, poolName, methods, precision, device, adapterRoot, contextLength },
    adapters: adaptersOf(flags.adapter ?? []),
    limits: { rows: parallel, cacheBytes: cacheMb * 2 ** 20 },
  };
  await checkFolders(engine);
  const onBug = (error: string) => log.error({ error }, "the engine failed");
  const backend = new ProcessBackend(engine, { onWarning: (warning) => log.warn({}, warning), onBug });
  await backend.ready;
  const server = await startServer(backend, {
    host: flags.host,
    port: flags.port,
    apiKeys: flags.apiKeys,
    hosts: flags.allowHost,
    allowsRuntimeUpdates: flags.allowRuntimeUpdates,
    logsPrompts: flags.logPrompts,
    limits: { queue: flags.maxQueue, maxTokens: flags.maxTokens, timeout: flags.timeout * 1000 },
    shelf: { results: flags.results, runs: flags.runs },
    version: packageVersion(),
    log,
  });
  const models = await backend.models();
  const names = models.map(({ id }) => id);
  const { url } = server;
  const some = `${names.slice(0, 8).join(", ")}${names.length > 8 ? ", ..." : ""}`;
  show(io, flags, { url, models: names }, `Serving ${some} at ${url}/v1\nPlayground: ${url}/`);
  onServing(url);
  await stopAsked(io, flags.drain);
  await server.close(flags.drain * 1000);
}

/** Settles when somebody asks the process to end; the second time it ends at once. */
async function stopAsked(io: Io, seconds: number): Promise<void> {
  await new Promise<void>((resolve) => {
    let isAsked = false;
    const stop = () => {
      if (isAsked) process.exit(130); // what shells expect of a process that Ctrl-C ended
      isAsked = true;
      io.err(`\nEnding when running requests are done, in ${counted(seconds, "second")} at most; once more to end at once.\n`);
      resolve();
    };
    process.on("SIGINT", stop).on("SIGTERM", stop);
  });
}

function adaptersOf(pairs: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    pairs.map((pair) => {
      const [, name, folder] = /^([\w.-]+)=(.+)$/.exec(pair) ?? [];
      if (name !== undefined && folder !== undefined) return [name, folder];
      throw new OptionError({
        code: "option-bad-assignment",
        data: { option: "adapter", got: pair },
        what: `Not a name and a folder: "${pair}".`,
        where: "--adapter",
        fix: "Write name=folder; a name has letters, digits, dots, dashes and underscores alone.",
      });
    }),
  );
}
