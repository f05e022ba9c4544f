import { cp, mkdir, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { TINY_LLAMA, temporary } from "../../tests/adapter-fixtures.ts";
import { POOL_FILE } from "../adapters/pool-file.ts";
import { PoolError } from "../base/errors.ts";
import { addExpert, createPool, listPool, openPool, removeExpert } from "./pool.ts";

const VARIANTS = "tests/golden/lora_variants";
const BASE = { name: "tiny", fingerprint: "abc" };

async function pool(...experts: string[]): Promise<string> {
  const folder = join(temporary(), "pool");
  await createPool(folder, BASE);
  for (const expert of experts) await addExpert(folder, join(VARIANTS, expert));
  return folder;
}

describe("a pool", () => {
  test("keeps its experts in order, of different ranks and modules", async () => {
    const folder = await pool("rslora", "default_targets", "regex_targets");
    const opened = await openPool(folder, TINY_LLAMA, { fingerprint: "abc" });
    expect(opened.experts.map(({ name, path }) => [name, path])).toEqual([
      ["rslora", "experts/rslora"],
      ["default_targets", "experts/default_targets"],
      ["regex_targets", "experts/regex_targets"],
    ]);
    const experts = await opened.loadAll();
    expect(experts.map(({ adapter }) => adapter.modules.size)).toEqual([14, 4, 3]);
    expect(await opened.load("rslora")).toEqual(await opened.load(0));
    await removeExpert(folder, "rslora");
    expect((await listPool(folder)).experts.map(({ name }) => name)).toEqual(["default_targets", "regex_targets"]);
    expect((await readdir(join(folder, "experts"))).sort()).toEqual(["default_targets", "regex_targets"]);
  });

  test("copies files, and leaves training checkpoints and pickles behind", async () => {
    const source = join(temporary(), "expert");
    await cp(join(VARIANTS, "rslora"), source, { recursive: true });
    await mkdir(join(source, "checkpoint-10"));
    await writeFile(join(source, "optimizer.pt"), "x");
    await writeFile(join(source, "README.md"), "mine");
    const folder = await pool();
    await addExpert(folder, source);
    expect((await readdir(join(folder, "experts/expert"))).sort()).toEqual([
      "README.md",
      "adapter_config.json",
      "adapter_model.safetensors",
    ]);
    await writeFile(join(folder, "experts/expert/README.md"), "edited");
    await expect(openPool(folder, TINY_LLAMA)).resolves.toBeDefined(); // the card is not part of what an expert computes
  });

  test("names the expert that changed, and the one that is gone", async () => {
    const folder = await pool("rslora", "default_targets");
    const config = join(folder, "experts/default_targets/adapter_config.json");
    await writeFile(config, (await readFile(config, "utf8")).replace('"lora_alpha": 16', '"lora_alpha": 32'));
    await expect(openPool(folder, TINY_LLAMA)).rejects.toThrow(/"default_targets" changed/);
    await rm(join(folder, "experts/default_targets"), { recursive: true });
    await expect(openPool(folder, TINY_LLAMA)).rejects.toThrow(/"default_targets" is missing/);
  });

  test("refuses another base model", async () => {
    await expect(openPool(await pool(), TINY_LLAMA, { fingerprint: "def" })).rejects.toThrow(/fingerprint abc; this base has def/);
  });

  test("refuses a name twice, a bad name, a folder that is no adapter, and a pool on a pool", async () => {
    const folder = await pool("rslora");
    await expect(addExpert(folder, join(VARIANTS, "rslora"))).rejects.toThrow(/already has an expert "rslora"/);
    await expect(addExpert(folder, join(VARIANTS, "rslora"), { name: "../x" })).rejects.toThrow(/cannot name an expert/);
    await expect(addExpert(folder, temporary())).rejects.toThrow(/holds no adapter_config.json/);
    await expect(createPool(folder, BASE)).rejects.toThrow(/a pool here already/);
    await expect(removeExpert(folder, "rslroa")).rejects.toThrow(/no expert "rslroa"[\s\S]*Closest: rslora/);
  });

  test("keeps paths inside its folder, symbolic links included", async () => {
    const folder = await pool("rslora");
    await expect(addExpert(folder, join(VARIANTS, "dropout_cfg"), { reference: true })).rejects.toThrow(/lies outside/);
    const inside = join(folder, "mine");
    await cp(join(VARIANTS, "dropout_cfg"), inside, { recursive: true });
    expect(await addExpert(folder, inside, { reference: true })).toMatchObject({ name: "mine", path: "mine" });
    await expect(openPool(folder, TINY_LLAMA)).resolves.toBeDefined();
    const outside = join(temporary(), "out");
    await cp(inside, outside, { recursive: true });
    await rm(inside, { recursive: true });
    await symlink(outside, inside);
    await expect(openPool(folder, TINY_LLAMA)).rejects.toThrow(/lies outside/);
    const listed = await listPool(folder);
    const escaped = { ...listed, experts: [{ ...listed.experts[0], path: "../../x" }] };
    await writeFile(join(folder, POOL_FILE), JSON.stringify(escaped));
    await expect(openPool(folder, TINY_LLAMA)).rejects.toThrow(/lies outside/);
  });

  test("takes experts from the hub by revision, once they are here", async () => {
    const folder = await pool();
    await addExpert(folder, join(VARIANTS, "rslora"), { name: "far", hub: { id: "org/far", revision: "c0ffee" } });
    await expect(openPool(folder, TINY_LLAMA)).rejects.toThrow(/"far" is on the hub \(org\/far\)/);
    const asked: string[] = [];
    const resolveHub = async (id: string, revision: string) => {
      asked.push(`${id}@${revision}`);
      return join(VARIANTS, "rslora");
    };
    const opened = await openPool(folder, TINY_LLAMA, { resolveHub });
    expect((await opened.load("far")).adapter.modules.size).toBe(14);
    expect(asked).toEqual(["org/far@c0ffee"]);
  });

  test("says what is wrong with pool.json", async () => {
    const folder = await pool();
    for (const [text, message] of [
      ["{", /not JSON/],
      [JSON.stringify({ version: 2, base: BASE, experts: [] }), /version/],
      [JSON.stringify({ version: 1, base: BASE, experts: [{ name: "a", sha256: "0".repeat(64) }] }), /either path or hub/],
    ] as const) {
      await writeFile(join(folder, POOL_FILE), text);
      const attempt = openPool(folder, TINY_LLAMA);
      await expect(attempt).rejects.toThrow(message);
      await expect(attempt).rejects.toBeInstanceOf(PoolError);
    }
  });
});
