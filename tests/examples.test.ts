/** @file The examples, the programs in the guides and those in comments run without errors, and the README contains the first example unchanged. */

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { examplesIn, publicApi } from "./public-api.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const examples = readdirSync(`${root}/examples`).filter((name) => name.endsWith(".mjs"));
const isBuilt = existsSync(`${root}/dist/index.js`);

test.skipIf(!isBuilt).each(examples)("%s runs (needs npm run build)", (name) => {
  expect(() => execFileSync(process.execPath, [`examples/${name}`], { cwd: root, stdio: "pipe" })).not.toThrow();
});

test.skipIf(!isBuilt)(
  "the programs in the guides run: one trains an expert, one asks a pool of it; then those in comments (needs npm run build)",
  () => {
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
      runExamples(folder, run);
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);

/** Compiles the examples in comments as a user's project, with types, and runs them one after the other. */
function runExamples(folder: string, run: (...args: string[]) => string): void {
  const programs = examplesIn(publicApi());
  for (const { name, code } of programs) writeFileSync(join(folder, `${name}.ts`), code);
  const compilerOptions = {
    module: "nodenext",
    target: "es2022",
    lib: ["es2023", "esnext.disposable"],
    strict: true,
    skipLibCheck: true,
    types: ["node"],
  };
  const tsconfig = {
    compilerOptions: { ...compilerOptions, typeRoots: [join(root, "node_modules/@types")] },
    files: programs.map(({ name }) => `${name}.ts`),
  };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(tsconfig));
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  run(join(root, "node_modules/typescript/bin/tsc"), "-p", ".");
  writeFileSync(join(folder, "all.js"), programs.map(({ name }) => `console.log("${name}");\nawait import("./${name}.js");\n`).join(""));
  expect(run("all.js")).toContain(programs.at(-1)!.name);
}

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
