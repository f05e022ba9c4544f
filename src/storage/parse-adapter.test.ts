/** @file The core parses an adapter's bytes to the same adapter that the loader reads from its folder. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { TINY_LLAMA } from "../../tests/adapter-fixtures.ts";
import { CONFIG_FILE, TENSOR_FILE } from "../adapters/file-names.ts";
import { parseAdapter } from "../adapters/parse-adapter.ts";
import { parseSafetensors } from "../checkpoint/safetensors-bytes.ts";
import { loadAdapter } from "./peft.ts";

const VARIANTS = "tests/golden/lora_variants";

function filesOf(name: string): { config: string; tensors: Uint8Array } {
  const read = (file: string) => readFileSync(join(VARIANTS, name, file));
  return { config: read(CONFIG_FILE).toString("utf8"), tensors: new Uint8Array(read(TENSOR_FILE)) };
}

test.each(["default_targets", "all_linear", "layers_to_transform"])("%s: from bytes as from its folder", async (name) => {
  expect(await parseAdapter(filesOf(name), TINY_LLAMA)).toEqual(await loadAdapter(join(VARIANTS, name), TINY_LLAMA));
});

test("bytes that are cut off, or are no safetensors, are refused where they are said to lie", async () => {
  const { config, tensors } = filesOf("default_targets");
  for (const bytes of [
    tensors.subarray(0, 4),
    tensors.subarray(0, 100),
    tensors.subarray(0, -1),
    new TextEncoder().encode("version https://git-lfs"),
  ]) {
    await expect(parseAdapter({ config, tensors: bytes }, TINY_LLAMA, { directory: "given" })).rejects.toMatchObject({
      name: "CheckpointError",
      where: `given/${TENSOR_FILE}`,
    });
  }
});

test("a tensor's numbers are those at its place in the bytes, wherever these begin in their buffer", () => {
  const { tensors } = filesOf("default_targets");
  const shifted = new Uint8Array(tensors.length + 3);
  shifted.set(tensors, 3);
  const [plain, moved] = [parseSafetensors(tensors, "a"), parseSafetensors(shifted.subarray(3), "a")];
  for (const [name, info] of plain.tensors) expect(moved.read(moved.tensors.get(name)!)).toEqual(plain.read(info));
});
