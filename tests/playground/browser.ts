/** @file For tests of the playground: a headless Chromium on a real server with a tiny base and pool. */

import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import axe from "axe-core";
import { type BrowserContext, chromium, type Page } from "playwright-core";
import { madeUpEvaluation } from "../../src/evaluation/comparison/evaluation.test-helper.ts";
import { saveResults } from "../../src/evaluation/comparison/results.ts";
import { openEngine } from "../../src/server/open-engine.ts";
import { type RunningServer, type ServeOptions, startServer } from "../../src/server/serve.ts";
import { type TinyWorld, tinyWorld } from "../../src/server/tiny-world.test-helper.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const CHROMIUM = process.env.SKEIN_CHROMIUM ?? "/usr/bin/chromium";
/** Why tests are skipped; undefined where they run. */
export const missing = existsSync(CHROMIUM) ? undefined : `${CHROMIUM} is missing; on Debian: apt install chromium`;

/** For what a loaded machine takes its time over. */
export const SOON = { timeout: 20_000 };

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export interface Playground {
  readonly world: TinyWorld;
  readonly context: BrowserContext;
  readonly folder: string;
  readonly server: RunningServer;
  /** For another server on another engine. */
  readonly options: ServeOptions;
  /** Another server on the same engine. */
  serve(options: Partial<ServeOptions>): Promise<RunningServer>;
  close(): Promise<void>;
}

/** Starts both. The server shows made-up results and one training run. */
export async function playground(): Promise<Playground> {
  execFileSync(process.execPath, [join(ROOT, "bin/skein.js"), "--version"]); // builds the page where it is stale
  const folder = await mkdtemp(join(tmpdir(), "skein-play-"));
  const world = await tinyWorld(folder);
  await saveResults(join(folder, "results"), madeUpEvaluation());
  await mkdir(join(folder, "runs/red"), { recursive: true });
  await writeFile(join(folder, "runs/red/config.json"), '{"kind":"lora"}');
  await writeFile(join(folder, "runs/red/metrics.jsonl"), '{"step":1,"loss":2}\n{"step":2,"loss":1}\n{"step":3,"loss":0.5}\n');
  const engine = await openEngine({ base: world.base, name: "tiny", pool: world.pool, poolName: "colors", watchEvery: 0 });
  const log = { info() {}, warn() {}, error: console.error };
  const shelf = { results: join(folder, "results"), runs: join(folder, "runs") };
  const own = { port: 0, version: "test", log, shelf };
  const serve = (options: Partial<ServeOptions>) => startServer(engine, { ...own, ...options });
  const server = await serve({});
  const context = await chromium.launchPersistentContext(join(folder, "profile"), {
    executablePath: CHROMIUM,
    args: FLAGS,
    viewport: { width: 1280, height: 900 },
    colorScheme: "light",
    acceptDownloads: true,
  });
  return {
    ...{ world, context, folder, server, serve, options: own },
    close: async () => {
      await context.close();
      await server.close(1000);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A new page at the server's address, whose errors fail the test. */
export async function opened({ context, server }: Pick<Playground, "context" | "server">, path = "/"): Promise<Page> {
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  page.on("pageerror", (error) => console.error(error));
  await page.goto(`${server.url}${path}`);
  return page;
}

/** Generates an answer and waits for its end. */
export async function generate(page: Page, prompt: string): Promise<void> {
  await page.locator("#prompt").fill(prompt);
  await page.getByRole("button", { name: "Generate" }).click();
  await answered(page);
}

/** Waits until an answer is whole. */
export async function answered(page: Page): Promise<void> {
  await page.locator(".answer .facts", { hasText: "tokens read" }).waitFor();
}

export function tokens(page: Page): Promise<string[]> {
  return page.locator(".answer [role=option]").evaluateAll((marks) => marks.map((mark) => mark.firstChild?.textContent ?? ""));
}

/** What axe-core calls serious or critical, as lines. */
export async function violations(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  const { violations: found } = await page.evaluate(() => (globalThis as unknown as { axe: typeof axe }).axe.run());
  const serious = found.filter(({ impact }) => impact === "serious" || impact === "critical");
  return serious.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html }) => html.slice(0, 160)).join(" | ")}`);
}
