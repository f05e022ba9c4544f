/** @file In a checkout the command builds itself if there is no build or a source changed, and only once if many start at the same time. */

import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const run = promisify(execFile);

let folder: string;
const skein = async (...args: string[]) => (await run(process.execPath, [join(folder, "bin/skein.js"), ...args])).stdout;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-build-"));
  for (const name of ["bin", "scripts", "src", "package.json", "tsconfig.json"])
    await cp(join(ROOT, name), join(folder, name), { recursive: true });
  await symlink(join(ROOT, "node_modules"), join(folder, "node_modules"), "junction");
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test("processes that start together all find it built", async () => {
  const { version } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8"));
  expect(await Promise.all([1, 2, 3].map(() => skein("--version")))).toEqual([`${version}\n`, `${version}\n`, `${version}\n`]);
});

test("an edit is built in, and what belongs to a deleted source goes", async () => {
  const main = join(folder, "src/cli/main.ts");
  await writeFile(main, (await readFile(main, "utf8")).replace("woven into one language model", "gathered in one flock"));
  await writeFile(join(folder, "src/cli/stray.ts"), "export const stray = 1;\n");
  expect(await skein("--help")).toContain("gathered in one flock");
  expect(await readdir(join(folder, "dist/cli"))).toContain("stray.js");
  await rm(join(folder, "src/cli/stray.ts"));
  await skein("--version");
  expect(await readdir(join(folder, "dist/cli"))).not.toContain("stray.js");
});

test("without the engine's native library the help and the library open, and what computes says what to install", async () => {
  const modules = join(folder, "node_modules");
  await rm(modules);
  await mkdir(modules);
  for (const name of await readdir(join(ROOT, "node_modules")))
    if (name !== "onnxruntime-node") await symlink(join(ROOT, "node_modules", name), join(modules, name), "junction");
  expect(await skein("--help")).toContain("Usage:");
  const library = pathToFileURL(join(folder, "dist/index.js")).href;
  const opened = await run(process.execPath, [
    "-e",
    `import(${JSON.stringify(library)}).then((skein) => console.log(typeof skein.loadModel))`,
  ]);
  expect(opened.stdout).toBe("function\n");
  const failure = await skein("generate", "x", "--base", join(ROOT, "assets/demo-base")).catch((error) => error);
  expect(failure).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/EngineError: The engine, ONNX Runtime, cannot be loaded[\s\S]*npm install/),
  });
});
