import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";

const repository = fileURLToPath(new URL("..", import.meta.url));
let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "skein-architecture-"));
  for (const file of ["src/models/registry.ts", "scripts/reference/decoders.py"]) cpSync(join(repository, file), join(root, file));
});
afterAll(() => rmSync(root, { recursive: true }));

const layOut = (name: string) =>
  spawnSync(process.execPath, [join(repository, "scripts/new-architecture.mjs"), name], {
    env: { ...process.env, SKEIN_ROOT: root },
    encoding: "utf8",
  });
const read = (path: string) => readFileSync(join(root, path), "utf8");

test("new:architecture lays out the file, the registry's line and the reference's case, once", () => {
  expect(layOut("olmo_two").status).toBe(0);
  expect(read("src/models/olmo-two.ts")).toContain("export const olmoTwo: ArchitectureFactory");
  expect(read("src/models/registry.ts")).toContain('import { olmoTwo } from "./olmo-two.ts";\nimport { phi3 }');
  expect(read("src/models/registry.ts")).toMatch(/\n {2}olmo_two: olmoTwo,\n\};/);
  expect(read("scripts/reference/decoders.py")).toMatch(/\n {4}"olmo_two": \("olmo_two", "OlmoTwo", dict\(\)\),\n\}/);
  const again = layOut("olmo_two");
  expect([again.status, again.stderr]).toEqual([1, expect.stringContaining("already in the registry")]);
});

test("new:architecture refuses what cannot be a model_type", () => {
  const { status, stderr } = layOut("../evil");
  expect([status, stderr]).toEqual([1, expect.stringContaining("cannot be a model_type")]);
});
