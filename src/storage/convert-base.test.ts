import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporary } from "../../tests/adapter-fixtures.ts";
import { golden } from "../../tests/golden.ts";
import { openCheckpoint } from "../checkpoint/checkpoint.ts";
import { fingerprint } from "../checkpoint/fingerprint.ts";
import { readSafetensors } from "../checkpoint/safetensors.ts";
import { torchState } from "../pickle/torch-file.test-helper.ts";
import { convertBase } from "./convert-base.ts";

/** A golden model saved as PyTorch did: one file, or two with an index. */
async function pickledModel(shards: 1 | 2): Promise<string> {
  const [source, folder] = [golden("t5/model"), temporary()];
  await cp(join(source, "config.json"), join(folder, "config.json"));
  const tensors = [...(await readSafetensors(join(source, "model.safetensors")))] as unknown as [
    string,
    { shape: number[]; data: Float32Array },
  ][];
  if (shards === 1) await writeFile(join(folder, "pytorch_model.bin"), torchState(Object.fromEntries(tensors)));
  else {
    const parts = [tensors.slice(0, 5), tensors.slice(5)];
    const map: Record<string, string> = {};
    for (const [i, part] of parts.entries()) {
      const name = `pytorch_model-0000${i + 1}-of-00002.bin`;
      await writeFile(join(folder, name), torchState(Object.fromEntries(part)));
      for (const [tensor] of part) map[tensor] = name;
    }
    await writeFile(join(folder, "pytorch_model.bin.index.json"), JSON.stringify({ weight_map: map }));
  }
  return folder;
}

test.each([1, 2] as const)("a base in %i pickled files becomes the same checkpoint in safetensors", async (shards) => {
  const [source, out] = [await pickledModel(shards), join(temporary(), "base")];
  await expect(openCheckpoint(source)).rejects.toThrow(/pickled/);
  const { tensors } = await convertBase(source, out);
  const original = await openCheckpoint(golden("t5/model"));
  const converted = await openCheckpoint(out);
  expect(tensors).toBe(original.tensors.size);
  expect(await fingerprint(converted)).toBe(await fingerprint(original));
  expect(await readSafetensors(join(out, "model.safetensors"))).toEqual(
    await readSafetensors(join(golden("t5/model"), "model.safetensors")),
  );
  expect(await readFile(join(out, "config.json"))).toEqual(await readFile(join(source, "config.json")));
  await expect(convertBase(source, out)).rejects.toThrow(/safetensors in this folder already/);
});

test("an index that leads out of the folder, and a folder without a model, are refused", async () => {
  const source = await pickledModel(2);
  await writeFile(join(source, "pytorch_model.bin.index.json"), JSON.stringify({ weight_map: { a: "../x.bin" } }));
  await expect(convertBase(source, join(temporary(), "out"))).rejects.toThrow(/no file in this folder/);
  const empty = join(temporary(), "empty");
  await mkdir(empty);
  await expect(convertBase(empty, join(temporary(), "out"))).rejects.toThrow(/Neither pytorch_model.bin/);
});
