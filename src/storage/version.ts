/** @file The version of this package. */

import { readFileSync } from "node:fs";

/** As package.json has it. */
export function packageVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  return String((manifest as { version: unknown }).version);
}
