import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { golden } from "../../tests/golden.ts";
import { float32, type HostTensor } from "../base/tensor.ts";
import { openSafetensors, readSafetensors } from "../checkpoint/safetensors.ts";
import { torchState } from "../pickle/torch-file.test-helper.ts";
import { transposed } from "../routing/experts.test-helper.ts";
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
    [
      "tensors that are no adapter's",
      (path) => cp(golden("torch_files/phatgoose.pt"), join(path, "adapter_model.bin")),
      /no part of a LoRA/,
    ],
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

describe("the authors' checkpoints", () => {
  const BEST = golden("torch_files/phatgoose.pt");

  test("a pool is made, with its base model or with a warning, and computes", async () => {
    const { code, out, err } = await skein("convert", BEST, at("authors"), "--from", "phatgoose", "--names", "a,b,c,d,e,f,g");
    expect({ code, out }).toEqual({ code: 0, out: `Made ${at("authors")} with 7 experts.\n` });
    expect(err).toMatch(/warning: The base model was not given/);
    expect(await done("pool", "list", at("authors"))).toMatch(/^Base unknown, fingerprint not recorded\n[\s\S]*\n6 +g +experts\/g/);
    await refused("convert", BEST, at("authors"), "--from", "phatgoose");
  });

  test("flags that have no use are refused", async () => {
    expect(await refused("convert", LORA, at("never"), "--base", BASE)).toMatch(/--base has no effect with --from peft/);
    expect(await refused("convert", BEST, at("never"), "--from", "merged-experts", "--names", "a")).toMatch(/--names has no effect/);
    expect(await refused("convert", BEST, at("never"), "--from", "phatgoose", "--names", "a,b")).toMatch(
      /2 names for 7 experts[\s\S]*where: --names/,
    );
  });
});

/** What the guide's commands find: the same kinds of files under its names. */
async function guideFiles(): Promise<string> {
  const root = at("guide");
  await mkdir(join(root, "models"), { recursive: true });
  await symlink(BASE, join(root, "models/llama"));
  await symlink(golden("t5/model"), join(root, "models/t5-xl-lm-adapt"));
  for (const name of ["lora", "lora-2"]) await cp(LORA, join(root, "downloads", name), { recursive: true });
  for (const name of ["best.pt", "average.pt"]) await cp(golden("torch_files/phatgoose.pt"), join(root, name)); // one form for both
  const merged: Record<string, HostTensor<"float32">> = {};
  for (const [name, tensor] of await readSafetensors(golden("phatgoose_t5/experts/expert_0/adapter_model.safetensors"))) {
    const [, module = "", factor] = /^base_model\.model\.(.+)\.lora_([AB])\.weight$/.exec(name)!;
    merged[`${module}._addons.expert_lora.layer${factor === "A" ? 1 : 2}__0`] = transposed(tensor as HostTensor<"float32">);
    if (factor === "A") merged[`${module}._addons.router.expert_embeddings__0`] = float32([tensor.shape[1]!]);
  }
  await writeFile(join(root, "merged.pt"), torchState(merged));
  const old = join(root, "downloads/t5-old");
  await mkdir(old);
  await cp(golden("t5/model/config.json"), join(old, "config.json"));
  const tensors = (await readSafetensors(golden("t5/model/model.safetensors"))) as Map<string, HostTensor<"float32">>;
  await writeFile(join(old, "pytorch_model.bin"), torchState(Object.fromEntries(tensors)));
  await done("pool", "create", join(root, "my-pool"), "--base", join(root, "models/llama"));
  return root;
}

test("the commands of the guide run", async () => {
  const root = await guideFiles();
  const guide = await readFile(new URL("../../docs/guide/converting.md", import.meta.url), "utf8");
  const commands = [...guide.matchAll(/^```sh\n([\s\S]*?)^```/gm)].flatMap(([, block]) => block!.trim().split("\n"));
  expect(commands.length).toBeGreaterThan(5);
  for (const command of commands) {
    const [program, name, ...rest] = command.split(" ");
    expect(program).toBe("skein");
    // Every other word that is no flag and no flag's choice is a path below the folder.
    const words = rest.map((word) =>
      /^--|^(?:add|list|base|phatgoose|average-activation|merged-experts)$/.test(word) ? word : join(root, word),
    );
    const { code, err } = await skein(name!, ...words);
    expect(code, `${command}\n${err}`).toBe(0);
  }
});
