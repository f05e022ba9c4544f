/** @file scripts/check-layers.mjs finds each kind of forbidden import, and nothing else. */

import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { temporaryFolder } from "./temporary-folder.ts";

const SCRIPT = fileURLToPath(new URL("../scripts/check-layers.mjs", import.meta.url));

const { folder, write } = temporaryFolder();
let projects = 0;

/** The script's output for a project with these files in src/: one line per problem. */
async function problemsOf(files: Readonly<Record<string, string>>): Promise<string[]> {
  const project = `project-${projects++}`;
  await write(`${project}/package.json`, JSON.stringify({ dependencies: { zod: "4.0.0", hyparquet: "1.0.0" } }));
  for (const [path, text] of Object.entries(files)) await write(`${project}/src/${path}`, text);
  const { stderr } = spawnSync(process.execPath, [SCRIPT, join(folder, project)], { encoding: "utf8" });
  return stderr.split("\n").filter((line) => line !== "");
}

test("imports from layers above and from the own folder hold", async () => {
  const files = {
    "base/errors.ts": 'import * as z from "zod";',
    "graph/value.ts": 'import { a } from "../base/errors.ts";',
    "graph/graph.ts": 'import type { V } from "./value.ts";\nimport { a } from "../base/errors.ts";',
    "index.ts": 'export { g } from "./graph/graph.ts";',
  };
  expect(await problemsOf(files)).toEqual([]);
});

test("an import from a layer below is found, also of a type", async () => {
  expect(await problemsOf({ "base/a.ts": 'import type { G } from "../graph/g.ts";', "graph/g.ts": "" })).toEqual([
    expect.stringMatching(/^src\/base\/a\.ts: layer "base" imports .* of "graph"/),
  ]);
});

test("a circle of two files is found, also through types", async () => {
  const files = { "graph/a.ts": 'import type { B } from "./b.ts";', "graph/b.ts": 'import {\n  a,\n} from "./a.ts";' };
  expect(await problemsOf(files)).toEqual([
    expect.stringMatching(/^src\/graph\/a\.ts -> src\/graph\/b\.ts -> src\/graph\/a\.ts: .*circle/),
  ]);
});

test("each group of files that import each other is said once, by its shortest circle", async () => {
  const files = {
    "graph/outside.ts": 'import "./a.ts";',
    "graph/a.ts": 'import "./b.ts";',
    "graph/b.ts": 'import "./c.ts";\nimport "./d.ts";',
    "graph/c.ts": 'import "./a.ts";\nimport "./d.ts";',
    "graph/d.ts": 'import "./a.ts";\nimport "../text/none.ts";',
    "text/self.ts": 'export * from "./self.ts";',
  };
  const [circle, self, ...others] = (await problemsOf(files)).filter((line) => line.includes("circle"));
  expect(circle).toMatch(/^src\/graph\/a\.ts -> src\/graph\/b\.ts -> src\/graph\/[cd]\.ts -> src\/graph\/a\.ts:/);
  expect(self).toMatch(/^src\/text\/self\.ts -> src\/text\/self\.ts:/);
  expect(others).toEqual([]);
});

test("dynamic imports count, imports in comments and in tests do not", async () => {
  const files = {
    "graph/a.ts": 'export const b = () => import("./b.ts");',
    "graph/b.ts": 'import "./a.ts";',
    "text/c.ts": '/** import { d } from "./d.ts"; */\n// import "./d.ts";\n',
    "text/d.ts": 'import "./c.ts";',
    "text/c.test.ts": 'import "../cli/main.ts";',
  };
  expect(await problemsOf(files)).toEqual([expect.stringContaining("src/graph/a.ts -> src/graph/b.ts")]);
});

test("packages are pinned, declared, and Node's modules have their prefix", async () => {
  const files = {
    "graph/a.ts": 'import "hyparquet";',
    "graph/b.ts": 'import "left-pad";',
    "data/c.ts": 'import "hyparquet/dist";\nimport "fs";',
    "elsewhere/d.ts": "",
  };
  expect(await problemsOf(files)).toEqual([
    expect.stringMatching(/^src\/data\/c\.ts: write "node:fs"/),
    expect.stringMatching(/"elsewhere" is in no layer/),
    expect.stringMatching(/^src\/graph\/a\.ts: imports "hyparquet", which only src\/data may/),
    expect.stringMatching(/^src\/graph\/b\.ts: imports "left-pad", which is not among/),
  ]);
});

test("the folders inside evaluation are layers too", async () => {
  const files = {
    "evaluation/metrics/bleu.ts": 'import "../tasks/task.ts";',
    "evaluation/tasks/task.ts": 'import "./other.ts";',
    "evaluation/tasks/other.ts": 'import "../metrics/rouge.ts";',
    "evaluation/metrics/rouge.ts": "",
    "evaluation/elsewhere.ts": 'import "./tasks/task.ts";',
  };
  expect(await problemsOf(files)).toEqual([
    expect.stringMatching(/^src\/evaluation\/elsewhere\.ts: is in no layer of evaluation/),
    expect.stringMatching(/^src\/evaluation\/metrics\/bleu\.ts: layer "evaluation\/metrics" imports .* of "evaluation\/tasks"/),
  ]);
});

test("the core uses neither Node's modules nor its globals", async () => {
  const files = {
    "graph/a.ts": 'import { join } from "node:path";',
    "graph/b.ts": 'const bytes = Buffer.from("x");',
    "graph/c.ts": "const threads = process.env.THREADS;",
    "graph/own-buffer.ts": "// Buffer\ninterface Buffer {}\nconst one: Buffer = {};",
    "text/load-tokenizer.ts": 'import { readFile } from "node:fs/promises";',
    "checkpoint/free.ts": 'import { readFile } from "node:fs/promises";',
  };
  expect(await problemsOf(files)).toEqual([
    expect.stringMatching(/^src\/graph\/a\.ts: uses node:path: the core/),
    expect.stringMatching(/^src\/graph\/b\.ts: uses Buffer: the core/),
    expect.stringMatching(/^src\/graph\/c\.ts: uses process\.env: the core/),
  ]);
});

test("the core loads nothing that uses Node, but may speak of its types", async () => {
  const files = {
    "checkpoint/header.ts": 'import { t } from "./file.ts";',
    "checkpoint/file.ts": 'import { open } from "node:fs/promises";',
    "models/a.ts": 'import type { Checkpoint } from "../checkpoint/file.ts";',
    "models/b.ts": 'import { header } from "../checkpoint/header.ts";',
  };
  expect(await problemsOf(files)).toEqual([
    "src/models/b.ts: loads src/checkpoint/header.ts -> src/checkpoint/file.ts, which uses node:fs/promises: the core runs in browsers too; " +
      "leave reading files to storage/, checkpoint/ or a file in LOADERS.",
  ]);
});

test("public entries may re-export, and are the only barrel files; nothing imports them", async () => {
  const files = {
    "base/a.ts": "export const a = 1;",
    "entries/first.ts": '/** @file What it is. */\n\nexport { a } from "../base/a.ts";',
    "graph/index.ts": '/** @file All of it. */\nexport {\n  a,\n} from "../base/a.ts";\nexport type { B } from "../base/a.ts";',
    "server/serve.ts": 'import { a } from "../entries/first.ts";',
  };
  expect(await problemsOf(files)).toEqual([
    expect.stringMatching(/^src\/graph\/index\.ts: only re-exports/),
    expect.stringMatching(/^src\/server\/serve\.ts: imports \.\.\/entries\/first\.ts, a public entry/),
  ]);
});
