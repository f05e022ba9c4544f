/** @file One model computes the same, however its numbers are stored: graphs read the files where they lie. */

import { cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { golden, goldenTensors } from "../../tests/golden.ts";
import { readSafetensors, writeSafetensors } from "../checkpoint/safetensors.ts";
import { loadModel } from "../library/model.ts";

const FILE = "model.safetensors";
const BASE = golden("t5/model");

let folder: string;
const at = (name: string) => join(folder, name);
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-storage-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function logitsOf(checkpoint: string) {
  const expected = await goldenTensors("t5/golden.safetensors");
  const [inputIds, attentionMask] = [expected.int("input_ids"), expected.int("attention_mask")];
  await using model = await loadModel(checkpoint);
  return (await model.forward({ inputIds, attentionMask, decoderInputIds: expected.int("decoder_input_ids") })).logits;
}

test.each(["F16", "BF16"] as const)("%s gives what its numbers in float32 give", async (dtype) => {
  const [half, full] = [at(dtype), at(`${dtype}-float32`)];
  for (const copy of [half, full]) await cp(BASE, copy, { recursive: true });
  await writeSafetensors(join(half, FILE), await readSafetensors(join(BASE, FILE)), { dtype });
  await writeSafetensors(join(full, FILE), await readSafetensors(join(half, FILE)));
  const logits = await logitsOf(half);
  expect(logits).toEqual(await logitsOf(full));
  expect(logits).not.toEqual(await logitsOf(BASE)); // it was rounded
});

test("shards, and a cache made of symbolic links, give what one file gives", async () => {
  const [sharded, blobs, snapshot] = [at("sharded"), at("cache/blobs"), at("cache/snapshots/abc")];
  await cp(BASE, sharded, { recursive: true });
  await rm(join(sharded, FILE));
  const tensors = [...(await readSafetensors(join(BASE, FILE)))];
  const map: Record<string, string> = {};
  for (const part of [0, 1]) {
    const shard = `model-0000${part + 1}-of-00002.safetensors`;
    const held = tensors.filter((_, i) => i % 2 === part);
    await writeSafetensors(join(sharded, shard), new Map(held));
    for (const [name] of held) map[name] = shard;
  }
  await writeFile(join(sharded, `${FILE}.index.json`), JSON.stringify({ metadata: {}, weight_map: map }));
  await cp(sharded, blobs, { recursive: true });
  await mkdir(snapshot, { recursive: true });
  for (const name of await readdir(blobs)) await symlink(join("../../blobs", name), join(snapshot, name));
  const whole = await logitsOf(BASE);
  expect(await logitsOf(sharded)).toEqual(whole);
  expect(await logitsOf(snapshot)).toEqual(whole);
});
