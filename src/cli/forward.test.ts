/** @file `skein forward` and `skein pool` against the numbers of the authors' own PHATGOOSE code (tests/golden/phatgoose_t5). */

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { expectClose, golden, goldenTensors } from "../../tests/golden.ts";
import { float32, type HostTensor, int64 } from "../base/tensor.ts";
import { readSafetensors, writeSafetensors } from "../checkpoint/safetensors.ts";
import { openBase } from "../inference/base.ts";
import { saveGates } from "../storage/expert.ts";
import { loadAdapter } from "../storage/peft.ts";
import { saveAdapter } from "../storage/peft-save.ts";
import { skein } from "./captured-io.test-helper.ts";

const BASE = golden("t5/model");
const EXPERTS = 7;
const TOLERANCE = 1e-4; // float32 against float32; the golden's own distance from float64 is 1e-5

let folder: string;
const at = (name: string) => join(folder, name);

/** T5's decoder input: the labels one to the right after the start token 0, -100 as 0. */
function shiftedRight({ shape, data }: HostTensor<"int64">): HostTensor<"int64"> {
  const width = shape[1]!;
  return int64(
    shape,
    BigInt64Array.from(data, (_, i) => (i % width === 0 || data[i - 1] === -100n ? 0n : data[i - 1]!)),
  );
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-forward-"));
  const routed = await goldenTensors("phatgoose_t5/routed.safetensors");
  const gates = await readSafetensors(golden("phatgoose_t5/gates.safetensors"));
  const { modules } = await openBase(BASE);
  for (let z = 0; z < EXPERTS; z++) {
    const adapter = await loadAdapter(golden(`phatgoose_t5/experts/expert_${z}`), modules);
    await saveAdapter(at(`expert_${z}`), adapter);
    const row = ({ shape, data }: HostTensor) => float32([shape[1]!], (data as Float32Array).slice(z * shape[1]!, (z + 1) * shape[1]!));
    await saveGates(at(`expert_${z}`), new Map([...gates].map(([module, gate]) => [module, row(gate)])));
  }
  await writeSafetensors(at("in.safetensors"), {
    input_ids: routed.get("input_ids"),
    attention_mask: routed.get("attention_mask"),
    decoder_input_ids: shiftedRight(routed.int("labels")),
  });
  const experts = Array.from({ length: EXPERTS }, (_, z) => at(`expert_${z}`));
  const { code, err } = await skein("pool", "create", at("pool"), "--base", BASE, ...experts);
  expect(err).toContain("records no base_fingerprint");
  expect(code).toBe(0);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test("a pool routed by phatgoose gives the authors' logits, experts and weights", async () => {
  const options = ["--base", BASE, "--pool", at("pool"), "--router", "phatgoose", "--top-k", "2", "--routes", "--json"];
  const { code, out, err } = await skein("forward", ...options, "--inputs", at("in.safetensors"), "--out", at("routed.safetensors"));
  expect({ code, lines: err.split("\n").filter((line) => !line.includes("records no base_fingerprint")) }).toEqual({
    code: 0,
    lines: [""],
  });
  expect(JSON.parse(out)).toMatchObject({
    logits: [4, 11, 160],
    experts: ["expert_0", "expert_1", "expert_2", "expert_3", "expert_4", "expert_5", "expert_6"],
  });

  const expected = await goldenTensors("phatgoose_t5/routed.safetensors");
  const actual = await readSafetensors(at("routed.safetensors"));
  expectClose(actual.get("logits")!, expected.float("logits"), TOLERANCE);
  const modules = expected.names.flatMap((name) => (name.startsWith("rw.") ? [name.slice(3)] : []));
  expect(modules).toHaveLength(36);
  for (const module of modules) {
    expect(actual.get(`routes.${module}.experts`), module).toEqual(expected.int(`topk_indices.${module}`));
    expectClose(actual.get(`routes.${module}.weights`)!, expected.float(`topk_weights.${module}`), TOLERANCE);
  }
});

test("the base alone, a LoRA and an (IA)3 adapter give transformers' and PEFT's logits", async () => {
  const base = await goldenTensors("t5/golden.safetensors");
  const adapted = await goldenTensors("t5/lora.safetensors");
  const names = ["input_ids", "attention_mask", "decoder_input_ids"];
  await writeSafetensors(at("t5.safetensors"), Object.fromEntries(names.map((name) => [name, base.get(name)])));
  const files = ["--inputs", at("t5.safetensors"), "--out", at("t5-out.safetensors")];
  expect(await skein("forward", "--base", BASE, ...files)).toMatchObject({ code: 0, err: "" });
  expectClose((await readSafetensors(at("t5-out.safetensors"))).get("logits")!, base.float("logits"), TOLERANCE);
  const scaled = await goldenTensors("ia3_t5/ia3.safetensors");
  for (const [adapter, expected] of [
    ["t5/adapter_init", adapted],
    ["ia3_t5/adapter_init", scaled],
  ] as const) {
    expect(await skein("forward", "--base", BASE, "--adapter", golden(adapter), ...files)).toMatchObject({ code: 0, err: "" });
    expectClose((await readSafetensors(at("t5-out.safetensors"))).get("logits")!, expected.float("logits"), TOLERANCE);
  }
});

test("an adapter on embeddings and head gives PEFT's logits", async () => {
  const expected = await goldenTensors("lora_variants/logits.safetensors");
  await writeSafetensors(at("llama.safetensors"), {
    input_ids: expected.get("input_ids"),
    attention_mask: expected.get("attention_mask"),
  });
  const adapter = golden("lora_variants/embedding_and_head");
  const files = ["--inputs", at("llama.safetensors"), "--out", at("llama-out.safetensors")];
  expect(await skein("forward", "--base", golden("llama/model"), "--adapter", adapter, ...files)).toMatchObject({ code: 0 });
  const { logits } = Object.fromEntries(await readSafetensors(at("llama-out.safetensors")));
  expectClose(logits!, expected.float("embedding_and_head.logits"), TOLERANCE, expected.int("attention_mask"));
});

test.each<[string, Record<string, HostTensor>, string]>([
  ["no input_ids", { decoder_input_ids: int64([1, 1]) }, 'no tensor "input_ids"'],
  ["ids of another dtype", { input_ids: float32([1, 2]) }, "expected int64 (I64), got F32"],
  ["ids without a batch axis", { input_ids: int64([3]) }, "expected a shape [batch, sequence] without zeros, got [3]"],
  ["a mask of another shape", { input_ids: int64([1, 2]), attention_mask: int64([1, 3]) }, "attention_mask is [1, 3], input_ids is [1, 2]"],
  ["a mask that is no mask", { input_ids: int64([1, 1]), attention_mask: int64([1, 1], [7]) }, "attention_mask holds 7"],
  ["another batch size", { input_ids: int64([1, 2]), decoder_input_ids: int64([2, 1]) }, "decoder_input_ids has 2 rows, input_ids has 1"],
  ["no decoder_input_ids", { input_ids: int64([1, 2]) }, "needs decoder_input_ids"],
  ["an id outside the vocabulary", { input_ids: int64([1, 1], [160]), decoder_input_ids: int64([1, 1]) }, "Token id 160 is outside"],
])("inputs with %s are refused and nothing is written", async (_, tensors, message) => {
  await writeSafetensors(at("bad.safetensors"), tensors);
  const { code, err } = await skein("forward", "--base", BASE, "--inputs", at("bad.safetensors"), "--out", at("never.safetensors"));
  expect(err).toContain(message);
  expect(err).toContain("fix:");
  expect(code).toBe(1);
  await expect(readSafetensors(at("never.safetensors"))).rejects.toThrow("ENOENT");
});

test.each<[string, string[], string]>([
  ["an unknown router", ["--pool", "POOL", "--router", "nearest"], "Use one of: phatgoose"],
  ["an adapter and a pool", ["--pool", "POOL", "--adapter", "x"], "Both an adapter and a pool"],
  ["a router without a pool", ["--router", "phatgoose"], "needs a pool"],
  ["a top-k of 0", ["--pool", "POOL", "--top-k", "0"], "whole number of at least 1"],
  ["a pool that is not there", ["--pool", "NOWHERE"], "There is no pool here"],
])("%s is refused", async (_, options, message) => {
  const given = options.map((option) => (option === "POOL" ? at("pool") : option === "NOWHERE" ? at("nowhere") : option));
  const files = ["--inputs", at("in.safetensors"), "--out", at("never.safetensors")];
  const { code, err } = await skein("forward", "--base", BASE, ...given, ...files);
  expect(err).toContain(message);
  expect(code).toBe(1);
});

test("a pool is listed, loses and gains experts, and refuses one that does not fit", async () => {
  const pool = at("small");
  expect((await skein("pool", "create", pool, "--base", BASE, at("expert_0"), at("expert_1"))).code).toBe(0);
  expect((await skein("pool", "remove", pool, "expert_0")).out).toContain("Removed expert_0");
  expect((await skein("pool", "add", pool, at("expert_2"), "--name", "two")).out).toContain("Added two");
  const listed = JSON.parse((await skein("pool", "list", pool, "--json")).out);
  expect(listed.experts.map(({ name }: { name: string }) => name)).toEqual(["expert_1", "two"]);
  await saveAdapter(at("ungated"), await loadAdapter(golden("phatgoose_t5/experts/expert_3"), (await openBase(BASE)).modules));
  await skein("pool", "add", pool, at("ungated"));
  const files = ["--inputs", at("in.safetensors"), "--out", at("never.safetensors")];
  const { code, err } = await skein("forward", "--base", BASE, "--pool", pool, ...files);
  expect(err).toContain('Expert "ungated" has nothing that router phatgoose could score it by');
  expect(code).toBe(1);
});

test("an expert that changed after it was added is named", async () => {
  const pool = at("tampered");
  await skein("pool", "create", pool, "--base", BASE, at("expert_0"));
  await writeFile(join(pool, "experts/expert_0/gate_config.json"), '{ "gate_type": "PHATGOOSE", "steps": 1 }');
  const files = ["--inputs", at("in.safetensors"), "--out", at("never.safetensors")];
  const { code, err } = await skein("forward", "--base", BASE, "--pool", pool, ...files);
  expect(err).toContain('Expert "expert_0" changed since it was added');
  expect(code).toBe(1);
});

test("check describes a usable adapter, and says why another is refused", async () => {
  const good = await skein("check", at("expert_0"), "--base", BASE, "--json");
  expect(JSON.parse(good.out)).toMatchObject({ usable: true, ranks: [4], gates: true, against: "base" });
  expect(good.code).toBe(0);
  const bad = await skein("check", golden("lora_variants/dora"));
  expect(bad.out).toMatch(/usable +no/);
  expect(bad.err).toContain("DoRA");
  expect(bad.code).toBe(1);
});

test("merge writes an adapter that covers every module", async () => {
  const experts = [at("expert_0"), at("expert_1")];
  expect(await skein("merge", ...experts, "--base", BASE, "--out", at("merged"))).toMatchObject({ code: 0, err: "" });
  const merged = await loadAdapter(at("merged"), (await openBase(BASE)).modules);
  expect(merged.modules.size).toBe(36);
  expect((await skein("merge", ...experts, "--base", BASE, "--out", at("none"), "--method", "mix")).err).toContain(
    "Expected one of average",
  );
});

test("routes of a base alone are none, and said to be", async () => {
  const files = ["--inputs", at("in.safetensors"), "--out", at("alone.safetensors")];
  const { code, out, err } = await skein("forward", "--base", BASE, ...files, "--routes");
  expect(code).toBe(0);
  expect(out).not.toContain("routes of");
  expect(err).toContain("--routes has no effect");
});
