import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { DEMO_BASE } from "../demo/evaluation-task.ts";
import { skein } from "./captured-io.test-helper.ts";

let folder: string;
const before = process.env.SKEIN_CACHE;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-precision-"));
  process.env.SKEIN_CACHE = folder;
});
afterAll(async () => {
  if (before === undefined) delete process.env.SKEIN_CACHE;
  else process.env.SKEIN_CACHE = before;
  await rm(folder, { recursive: true, force: true });
});

const generate = (...flags: string[]) => skein("generate", "opposite : 1. hot 2. big", "--base", DEMO_BASE, "--temperature", "0", ...flags);

test("--precision quantizes once, with progress, and keeps what it made until the cache is cleared", async () => {
  const first = await generate("--precision", "int8", "--json");
  expect(JSON.parse(first.out).completions[0].text.trim()).toBe("1. cold 2. small");
  expect(first.err).toContain('"progress":"quantize"');
  const second = await generate("--precision", "int8", "--json");
  expect(second.err).not.toContain("quantize");
  expect(second.out).toBe(first.out);
  expect(JSON.parse((await skein("cache", "list", "--json")).out)).toMatchObject([{ scheme: "int8" }]);
  expect((await skein("cache", "list")).out).toMatch(/^kept +of +size +folder\nweights int8 /);
  expect(JSON.parse((await skein("cache", "clear", "--json")).out).bytes).toBeGreaterThan(900_000);
  expect((await skein("cache", "list")).out).toBe("Nothing is stored.\n");
});

test("a precision that does not exist is refused with those that do", async () => {
  expect(await generate("--precision", "int3")).toMatchObject({
    code: 1,
    err: expect.stringMatching(/float32, float16, int8, int4, auto/),
  });
});

test("training every weight on a quantized base is refused", async () => {
  const data = join(folder, "data.jsonl");
  const { writeFile } = await import("node:fs/promises");
  await writeFile(data, '{"input": "a", "target": "b"}\n');
  const flags = ["--base", DEMO_BASE, "--data", data, "--out", join(folder, "out"), "--full", "--steps", "1", "--precision", "int8"];
  expect(await skein("train", ...flags)).toMatchObject({ code: 1, err: expect.stringMatching(/int8.*frozen[\s\S]*fix:/) });
});
