/** @file The playground's files: one page, one script, one style sheet, built from web/ into dist/web. The page may load nothing from elsewhere. */

import { readFile } from "node:fs/promises";
import type { Context, Env, Hono } from "hono";

/** Beside the compiled server; from the sources, where the build puts it. */
const FOLDERS = [new URL("../../web/", import.meta.url), new URL("../../../dist/web/", import.meta.url)];
const FILES: Readonly<Record<string, { readonly file: string; readonly type: string }>> = {
  "/": { file: "index.html", type: "text/html; charset=utf-8" },
  "/playground/app.js": { file: "playground/app.js", type: "text/javascript; charset=utf-8" },
  "/playground/app.css": { file: "playground/app.css", type: "text/css; charset=utf-8" },
  "/playground/icon.svg": { file: "playground/icon.svg", type: "image/svg+xml" },
};
export const PLAYGROUND_PATHS: ReadonlySet<string> = new Set(Object.keys(FILES));

const HEADERS = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cache-control": "no-cache",
};

/** Serves the files. Without a build of web/, / leads to the routes' description. */
export function servePlayground<E extends Env>(app: Hono<E>): void {
  for (const [path, { file, type }] of Object.entries(FILES)) {
    app.get(path, async (c: Context) => {
      const found = await contents(file);
      if (found) return c.body(new Uint8Array(found), 200, { ...HEADERS, "content-type": type });
      return path === "/" ? c.redirect("/docs") : c.notFound();
    });
  }
}

async function contents(file: string): Promise<Uint8Array | undefined> {
  for (const folder of FOLDERS) {
    const found = await readFile(new URL(file, folder)).catch(() => undefined); // not built
    if (found) return found;
  }
  return undefined;
}
