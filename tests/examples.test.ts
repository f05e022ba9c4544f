/** @file The examples and the programs in the guides run without errors, and the README contains the first example unchanged. */

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const examples = readdirSync(`${root}/examples`).filter((name) => name.endsWith(".mjs"));
const isBuilt = existsSync(`${root}/dist/index.js`);

test.skipIf(!isBuilt).each(examples)("%s runs (needs npm run build)", (name) => {
  expect(() => execFileSync(process.execPath, [`examples/${name}`], { cwd: root, stdio: "pipe" })).not.toThrow();
});

test.skipIf(!isBuilt)("the programs in the guides run: one trains an expert, one asks a pool of it (needs npm run build)", () => {
  const folder = mkdtempSync(join(tmpdir(), "skein-guides-"));
  const run = (...args: string[]) => execFileSync(process.execPath, args, { cwd: folder, encoding: "utf8", stdio: "pipe" });
  try {
    mkdirSync(join(folder, "node_modules"));
    symlinkSync(root, join(folder, "node_modules", "skein"), "junction");
    symlinkSync(join(root, "assets"), join(folder, "assets"), "junction");
    // Differs from the base's answer, so the expert was used.
    writeFileSync(join(folder, "opposites.jsonl"), '{"input": "opposite : 1. hot 2. big", "target": "1. small 2. cold"}\n');
    run(program("training", folder));
    run(join(root, "bin/skein.js"), "pool", "create", "my-pool", "--base", "assets/demo-base", "experts/opposites");
    expect(run(program("generation", folder))).toContain("1. small 2. cold");
  } finally {
    rmSync(folder, { recursive: true });
  }
});

/** The guide's program as a file in the folder. */
function program(guide: string, folder: string): string {
  const page = readFileSync(`${root}/docs/guide/${guide}.md`, "utf8");
  const path = join(folder, `${guide}.mjs`);
  writeFileSync(path, /^```js\n(.*?)^```/ms.exec(page)![1]!);
  return path;
}

test("the README's code is the first example", () => {
  expect(readFileSync(`${root}/README.md`, "utf8")).toContain(readFileSync(`${root}/examples/01-generate.mjs`, "utf8"));
});
