/** @file Routers on disk: rows by name, and files that do not belong together. */

import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { float32 } from "../base/tensor.ts";
import { readSafetensors, writeSafetensors } from "../checkpoint/safetensors.ts";
import { checkRouters, MOA_FILE, type Moa, ROUTER_FILE, withoutDomain } from "../routing/moa-file.ts";
import { readMoa, writeMoa, writeSmallerMoa } from "./moa.ts";

const moa: Moa = {
  domains: ["law", "code", "exams"],
  routers: new Map([["layers.0", { weight: float32([3, 2], [1, 2, 3, 4, 5, 6]), bias: float32([3], [7, 8, 9]) }]]),
  pooling: "mean",
  states: "base",
  training: { steps: 3, added: { exams: { steps: 5 } } },
};
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-moa-files-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));
const file = (name: string) => join(folder, name);

test("a model comes back as it was written", async () => {
  await writeMoa(folder, moa);
  expect(await readMoa(folder)).toEqual(moa);
});

test.each(["code", "exams"])("who is stopped between the two files while %s comes or goes has the smaller model", async (name) => {
  const smaller = withoutDomain(moa, name);
  await writeMoa(folder, smaller);
  const config = await readFile(file(MOA_FILE));
  await writeMoa(folder, moa);
  await writeFile(file(MOA_FILE), config); // the state before moa.json is written, or after only moa.json was written
  expect(await readMoa(folder)).toEqual(smaller);
  await writeSmallerMoa(folder, smaller);
  expect(await readMoa(folder)).toEqual(smaller);
});

test("what was said of a domain that came later goes with it", () => {
  expect(withoutDomain(moa, "exams").training).toEqual({ steps: 3 });
  expect(withoutDomain(moa, "law").training).toEqual(moa.training);
});

test("routers whose file does not name its rows are of moa.json's domains", async () => {
  await writeMoa(folder, moa);
  await writeSafetensors(file(ROUTER_FILE), await readSafetensors(file(ROUTER_FILE)));
  expect(await readMoa(folder)).toEqual(moa);
});

test.each<[string, () => Promise<unknown>, string]>([
  ["a domain named twice", () => edit((text) => text.replace('"code"', '"law"')), "named twice"],
  ["a domain without rows", () => edit((text) => text.replace('"code"', '"../code"')), 'do not know the domain "../code"'],
  ["moa.json cut short", () => edit((text) => text.slice(0, 40)), "moa.json is not JSON"],
  ["routers cut short", async () => writeFile(file(ROUTER_FILE), (await readFile(file(ROUTER_FILE))).subarray(0, 90)), "cannot be read"],
  ["a folder called moa.json", () => rm(file(MOA_FILE)).then(() => mkdir(file(MOA_FILE))), "moa.json cannot be read"],
])("%s is refused, and where", async (_, spoil, what) => {
  await writeMoa(folder, moa);
  await spoil();
  const error = await readMoa(folder).catch((error: unknown) => error);
  expect(error).toMatchObject({ name: "PoolError", what: expect.stringContaining(what), where: expect.stringContaining(folder) });
});
async function edit(change: (text: string) => string): Promise<void> {
  await writeFile(file(MOA_FILE), change(await readFile(file(MOA_FILE), "utf8")));
}

test("routers of other layers, or of states of another width, are refused", () => {
  expect(() => checkRouters(moa, ["layers.0", "layers.1"], 2, folder)).toThrow("The routers are of the layers layers.0;");
  expect(() => checkRouters(moa, ["layers.0"], 4, folder)).toThrow("reads states of width 2; the base model's have 4");
  expect(() => checkRouters(moa, ["layers.0"], 2, folder)).not.toThrow();
});
