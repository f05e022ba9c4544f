import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { golden } from "../../tests/golden.ts";
import { openSafetensors } from "../checkpoint/safetensors.ts";
import { skein } from "./captured-io.test-helper.ts";

const [LORA, ORIGINAL, BASE] = [golden("torch_files/lora"), golden("lora_variants/regex_targets"), golden("llama/model")];

let folder: string;
const at = (name: string) => join(folder, name);
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-convert-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** Runs a command line that must succeed. */
async function done(...argv: string[]): Promise<string> {
  const { code, out, err } = await skein(...argv);
  expect(err).toBe("");
  expect(code).toBe(0);
  return out;
}

/** Runs a command line that must be refused, with something to mend. */
async function refused(...argv: string[]): Promise<string> {
  const { code, err } = await skein(...argv);
  expect(code, err).toBe(1);
  expect(err).toMatch(/\n {2}fix: {3}\S/);
  return err;
}

async function numbersOf(directory: string): Promise<Record<string, string>> {
  const { tensors, path } = await openSafetensors(join(directory, "adapter_model.safetensors"));
  const file = await readFile(path);
  return Object.fromEntries(
    [...tensors].map(([name, { dtype, shape, offset, bytes }]) => [
      name,
      `${dtype} ${shape} ${file.subarray(offset, offset + bytes).toString("hex")}`,
    ]),
  );
}

describe("a pickled adapter of PEFT", () => {
  test("is written as the safetensors it was, from its folder and from its file", async () => {
    await cp(LORA, at("lora"), { recursive: true });
    await writeFile(at("lora/README.md"), "a card\n");
    await writeFile(at("lora/optimizer.pt"), "not part of it");
    expect(await done("convert", at("lora"), at("from-folder"))).toMatch(/^Wrote \d+ tensors of .*adapter_model\.bin to/);
    await done("convert", at("lora/adapter_model.bin"), at("from-file"));
    for (const name of ["from-folder", "from-file"]) {
      expect(await numbersOf(at(name))).toEqual(await numbersOf(ORIGINAL));
      expect((await readdir(at(name))).sort()).toEqual(["README.md", "adapter_config.json", "adapter_model.safetensors"]);
      expect(await readFile(at(`${name}/adapter_config.json`))).toEqual(await readFile(join(ORIGINAL, "adapter_config.json")));
    }
    await done("check", at("from-file"), "--base", BASE);
  });

  test("is converted in its own folder too", async () => {
    await cp(LORA, at("own"), { recursive: true });
    await done("convert", at("own"), at("own"));
    expect(await numbersOf(at("own"))).toEqual(await numbersOf(ORIGINAL));
    expect(await refused("convert", at("own"), at("own"))).toMatch(/adapter here already/);
    expect(await refused("convert", ORIGINAL, at("other"))).toMatch(/already[\s\S]*Use it as it is/);
  });

  test("is refused when it is opened, with the command that converts it", async () => {
    expect(await refused("check", LORA, "--base", BASE)).toMatch(/skein convert .*lora OUT/);
  });

  test("joins a pool with --convert, copied or in place", async () => {
    await done("pool", "create", at("pool"), "--base", BASE);
    expect(await refused("pool", "add", at("pool"), LORA)).toMatch(/pickle[\s\S]*--convert/);
    await cp(ORIGINAL, at("plain"), { recursive: true });
    await done("pool", "add", at("pool"), LORA, at("plain"), "--convert");
    await done("pool", "add", at("pool"), join(LORA, "adapter_model.bin"), "--convert", "--name", "again");
    await cp(LORA, at("pool/mine"), { recursive: true });
    await done("pool", "add", at("pool"), at("pool/mine"), "--convert", "--reference");
    const listed = JSON.parse(await done("pool", "list", at("pool"), "--json")) as {
      experts: { name: string; path: string; sha256: string }[];
    };
    expect(listed.experts.map(({ name, path }) => [name, path])).toEqual([
      ["lora", "experts/lora"],
      ["plain", "experts/plain"],
      ["again", "experts/again"],
      ["mine", "mine"],
    ]);
    expect(await numbersOf(at("pool/experts/lora"))).toEqual(await numbersOf(ORIGINAL));
    expect((await readdir(at("pool"))).sort()).toEqual(["experts", "mine", "pool.json"]);
  });

  test.each<[string, (folder: string) => Promise<unknown>, RegExp]>([
    ["no configuration", (path) => rm(join(path, "adapter_config.json")), /adapter_config\.json/],
    ["a class that is no tensor's", (path) => cp(golden("torch_files/object.pt"), join(path, "adapter_model.bin")), /"__main__\.Custom"/],
    ["tensors that are no adapter's", (path) => cp(golden("torch_files/plain.pt"), join(path, "adapter_model.bin")), /no part of a LoRA/],
    ["a page of the web", (path) => writeFile(join(path, "adapter_model.bin"), "<html>"), /neither a zip file nor a pickle/],
    ["DoRA", (path) => writeFile(join(path, "adapter_config.json"), '{"peft_type": "LORA", "use_dora": true}'), /use_dora/],
  ])("%s is refused, and nothing is written", async (name, harm, message) => {
    const path = at(`harmed ${name}`);
    await cp(LORA, path, { recursive: true });
    await harm(path);
    expect(await refused("convert", join(path, "adapter_model.bin"), at("never"))).toMatch(message);
    await expect(readdir(at("never"))).rejects.toThrow(/ENOENT/);
  });

  test("never replaces an adapter", async () => {
    await cp(ORIGINAL, at("there"), { recursive: true });
    expect(await refused("convert", LORA, at("there"))).toMatch(/adapter here already/);
    expect(await refused("convert", at("nowhere"), at("never"))).toMatch(/no such adapter folder/);
  });
});
