import { appendFile, cp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { TINY_LLAMA, temporary } from "../../tests/adapter-fixtures.ts";
import type { LoraWeights } from "../adapters/adapter.ts";
import type { Expert } from "../adapters/expert.ts";
import { CONFIG_FILE, TENSOR_FILE } from "../adapters/file-names.ts";
import { elements, isStored } from "../base/tensor.ts";
import { copyNumbers } from "../checkpoint/copy-numbers.ts";
import { readSafetensors, writeSafetensors } from "../checkpoint/safetensors.ts";
import { arrow } from "../methods/arrow.ts";
import { loraOf } from "../routing/stack.ts";
import { loadExpert } from "./expert.ts";
import { clearKeptPrototypes, keptPrototypes, withKeptPrototypes } from "./kept-prototypes.ts";
import { addExpert, createPool, openPool } from "./pool.ts";

const VARIANTS = "tests/golden/lora_variants";

async function poolOf(...folders: string[]): Promise<string> {
  const folder = join(temporary(), "pool");
  await createPool(folder, { name: "tiny" });
  for (const expert of folders) await addExpert(folder, expert);
  return folder;
}
const opened = (folder: string) => openPool(folder, TINY_LLAMA, { verify: "when read" });

/** The numbers of the first factor. */
function numbersOf(from: Expert | undefined): Float32Array {
  const [{ a }] = [...loraOf(from!).values()] as [LoraWeights];
  const numbers = new Float32Array(elements(a.shape));
  copyNumbers(a, numbers);
  return numbers;
}

function changedAtTheEnd(before: Buffer): Buffer {
  const changed = Buffer.from(before);
  changed[changed.length - 1]! ^= 1;
  return changed;
}

test.each(["keep", "F16", "BF16"] as const)("an expert's numbers stay in its files until they are used (%s)", async (dtype) => {
  const source = join(temporary(), "rslora");
  await cp(join(VARIANTS, "rslora"), source, { recursive: true });
  await writeSafetensors(join(source, TENSOR_FILE), await readSafetensors(join(source, TENSOR_FILE)), { dtype });
  const whole = loraOf(await loadExpert(source, TINY_LLAMA));
  const [expert] = await (await opened(await poolOf(source, join(VARIANTS, "default_targets")))).loadAll();
  for (const [module, { a, b }] of loraOf(expert!)) {
    expect(isStored(a) && a.stored.format).toBe(dtype === "keep" ? "F32" : dtype);
    const copy = new Float32Array(whole.get(module)!.a.data.length);
    copyNumbers(a, copy);
    expect(copy).toEqual(whole.get(module)!.a.data);
    expect(b.data).toEqual(whole.get(module)!.b.data);
  }
});

test("an expert that changed or went while its pool is open is named when it is read again, and one that is put back is read", async () => {
  const folder = await poolOf(join(VARIANTS, "rslora"), join(VARIANTS, "default_targets"));
  const [other, expert] = await (await opened(folder)).loadAll();
  const file = join(folder, "experts/default_targets", TENSOR_FILE);
  const [before, numbers] = [await readFile(file), numbersOf(expert)];
  await writeFile(file, changedAtTheEnd(before));
  numbersOf(other); // takes the other's place on the desk
  expect(() => numbersOf(expert)).toThrow(/"default_targets" changed/);
  await expect((await opened(folder)).load(1)).rejects.toThrow(/"default_targets" changed/);
  await writeFile(file, before);
  expect(numbersOf(expert)).toEqual(numbers);
  await rm(file);
  numbersOf(other);
  expect(() => numbersOf(expert)).toThrow(/"default_targets" changed/);
  await expect(opened(folder)).rejects.toThrow(/"default_targets" is missing/);
});

test("a large expert is compared with its hash when its numbers are used first, not when it is opened", async () => {
  const source = join(temporary(), "rslora");
  await cp(join(VARIANTS, "rslora"), source, { recursive: true });
  await appendFile(join(source, CONFIG_FILE), " ".repeat(2 ** 23)); // spaces after JSON are allowed
  const folder = await poolOf(source);
  const file = join(folder, "experts/rslora", TENSOR_FILE);
  const before = await readFile(file);
  await writeFile(file, changedAtTheEnd(before));
  const expert = await (await opened(folder)).load(0);
  expect(() => numbersOf(expert)).toThrow(/"rslora" changed/);
  await writeFile(file, before);
  expect(numbersOf(expert)).toEqual(numbersOf(await loadExpert(source, TINY_LLAMA)));
});

test("prototypes are computed once and kept by content; damaged ones are made again", async () => {
  const env = { SKEIN_CACHE: temporary() };
  const folder = await poolOf(join(VARIANTS, "rslora"), join(VARIANTS, "default_targets"));
  const router = arrow();
  const vectors = async () => {
    const experts = await (await opened(folder)).loadAll();
    const kept = await withKeptPrototypes(router, experts, { env });
    return experts.map((expert) => [...expert.adapter.modules.keys()].map((module) => [...kept.prototype(expert, module)!.data]));
  };
  const plain = await (async () => {
    const experts = await (await opened(folder)).loadAll();
    return experts.map((expert) => [...expert.adapter.modules.keys()].map((module) => [...router.prototype(expert, module)!.data]));
  })();
  expect(await vectors()).toEqual(plain);
  const [kept] = await keptPrototypes(env);
  expect(kept).toMatchObject({ computation: "arrow-singular", experts: 2 });
  const file = join(kept!.folder, (await readdir(kept!.folder))[0]!);
  const bytes = await readFile(file);
  const mark = Buffer.from(bytes);
  mark[mark.length - 1]! ^= 0x40;
  await writeFile(file, mark);
  expect(await vectors()).toEqual(plain);
  expect(await readFile(file)).toEqual(bytes);
  expect(await clearKeptPrototypes(env)).toHaveLength(1);
  expect(await keptPrototypes(env)).toEqual([]);
  const made = (await (await opened(folder)).loadAll()).map(({ source: _, ...expert }) => expert);
  await withKeptPrototypes(router, made, { env });
  expect(await keptPrototypes(env)).toEqual([]); // experts made in memory have no content to be known by
});
