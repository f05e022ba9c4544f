/** @file The examples run and end well, and the README shows the first one as it is. */

import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const examples = readdirSync(`${root}/examples`).filter((name) => name.endsWith(".mjs"));
const isBuilt = existsSync(`${root}/dist/index.js`);

test.skipIf(!isBuilt).each(examples)("%s runs (needs npm run build)", (name) => {
  expect(() => execFileSync(process.execPath, [`examples/${name}`], { cwd: root, stdio: "pipe" })).not.toThrow();
});

test("the README's code is the first example", () => {
  expect(readFileSync(`${root}/README.md`, "utf8")).toContain(readFileSync(`${root}/examples/01-generate.mjs`, "utf8"));
});
