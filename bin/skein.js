#!/usr/bin/env node
/** @file The `skein` command. In a checkout it first builds what is missing or stale; an installed package is built already. */

import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

if (existsSync(fileURLToPath(new URL("../src", import.meta.url)))) {
  const { buildIfStale } = await import("../scripts/build.mjs");
  if (!(await buildIfStale())) process.exit(70);
}
const { main } = await import("../dist/cli/main.js");
process.exitCode = await main(process.argv.slice(2));
