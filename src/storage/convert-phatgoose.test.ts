/** @file Pools made of the authors' checkpoints give the results of the authors' code with the same state. */

import { access, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { expectClose, golden, goldenTensors } from "../../tests/golden.ts";
import { UserError } from "../base/errors.ts";
import { float32, type HostTensor } from "../base/tensor.ts";
import { readSafetensors } from "../checkpoint/safetensors.ts";
import { openBase } from "../inference/base.ts";
import { RoutedPool } from "../inference/routed-pool.ts";
import { loadModel } from "../library/model.ts";
import { averageActivation } from "../methods/average-activation.ts";
import { phatgoose } from "../methods/phatgoose.ts";
import { torchState } from "../pickle/torch-file.test-helper.ts";
import { shiftedRight, transposed } from "../routing/experts.test-helper.ts";
import type { Router } from "../routing/router.ts";
import { convertMergedExperts, convertPhatgoose } from "./convert-phatgoose.ts";
import { loadAdapter } from "./peft.ts";
import { openPool } from "./pool.ts";

type State = Record<string, HostTensor<"float32">>;

let folder: string;
let state: State;
let model: Awaited<ReturnType<typeof loadModel>>;
const at = (name: string) => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-phatgoose-"));
  model = await loadModel(golden("t5/model"));
  // The experts' files contain exactly the numbers of the state.
  state = {};
  const gates = await goldenTensors("phatgoose_t5/gates.safetensors");
  for (let i = 0; i < 7; i++) {
    const { modules } = await loadAdapter(golden(`phatgoose_t5/experts/expert_${i}`), model.base.modules);
    for (const [module, weights] of modules) {
      const { a, b } = weights as { a: HostTensor<"float32">; b: HostTensor<"float32"> };
      const gate = gates.float(module);
      const width = gate.shape[1]!;
      state[`${module}._addons.expert_lora.layer1__${i}`] = transposed(a);
      state[`${module}._addons.expert_lora.layer2__${i}`] = transposed(b);
      state[`${module}._addons.router.expert_embeddings__${i}`] = float32([width], gate.data.slice(i * width, (i + 1) * width));
    }
  }
});
afterAll(async () => {
  await model[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

async function saved(name: string, tensors: State): Promise<string> {
  await writeFile(at(name), torchState(tensors));
  return at(name);
}

async function routed(pool: string, router: Router, file: string) {
  const experts = await (await openPool(pool, model.base.modules, { fingerprint: await model.base.fingerprint() })).loadAll();
  const expected = await goldenTensors(file);
  const woven = model.withWoven(new RoutedPool(experts, model.base.modules, { router }));
  const batch = {
    inputIds: expected.int("input_ids"),
    attentionMask: expected.int("attention_mask"),
    decoderInputIds: shiftedRight(expected.int("labels")),
  };
  return { expected, ...(await woven.forward(batch, { routes: true })) };
}

describe("PHATGOOSE", () => {
  test.each(["with", "without"])("a .pt of PyTorch, %s the base model at hand: logits and routes are the authors'", async (how) => {
    const pool = at(`pool-${how}`);
    const base = { name: "t5", fingerprint: await model.base.fingerprint(), modules: model.base.modules };
    const converted = await convertPhatgoose(golden("torch_files/phatgoose.pt"), pool, "gates", how === "with" ? { base } : {});
    expect(converted).toMatchObject({ kept: 0, modules: 36, experts: Array.from({ length: 7 }, (_, i) => `expert-${i}`) });
    expect(converted.warnings.join(" ")).toMatch(
      /2 of the file's tensors are the base model's embeddings[\s\S]*None of the authors' pools has 7/,
    );
    expect((await readdir(pool)).sort()).toEqual(["experts", "pool.json"]);
    const { expected, logits, routes } = await routed(pool, phatgoose(), "phatgoose_t5/routed.safetensors");
    expectClose(logits, expected.float("logits"), 1e-4);
    expect(routes!.size).toBe(36);
    for (const [module, { experts, weights }] of routes!) {
      expect([...experts.data], module).toEqual([...expected.int(`topk_indices.${module}`).data]);
      expectClose(weights, expected.float(`topk_weights.${module}`), 2e-5);
    }
  });

  test("the experts are the very numbers, in PEFT's form", async () => {
    const written = await readSafetensors(at("pool-with/experts/expert-3/adapter_model.safetensors"));
    expect(written).toEqual(await readSafetensors(golden("phatgoose_t5/experts/expert_3/adapter_model.safetensors")));
    const config = JSON.parse(await readFile(at("pool-with/experts/expert-3/adapter_config.json"), "utf8"));
    expect(config).toMatchObject({ r: 4, lora_alpha: 1, task_type: "SEQ_2_SEQ_LM", base_model_name_or_path: "t5" });
  });

  test("another base model is refused before anything is written", async () => {
    const base = { name: "llama", fingerprint: "x", modules: (await openBase(golden("llama/model"))).modules };
    await expect(convertPhatgoose(golden("torch_files/phatgoose.pt"), at("never"), "gates", { base })).rejects.toThrow(
      /base model has none/,
    );
    await expect(access(at("never"))).rejects.toThrow();
  });

  test("what was stopped goes on with the same call, and with no other", async () => {
    const [source, out] = [golden("torch_files/phatgoose.pt"), at("stopped")];
    const stop = (done: number) => {
      if (done === 3) throw new Error("stopped");
    };
    await expect(convertPhatgoose(source, out, "gates", { onExpert: stop })).rejects.toThrow("stopped");
    expect((await readdir(out)).sort()).toEqual(["conversion.json", "experts"]);
    expect((await readdir(join(out, "experts"))).sort()).toEqual(["expert-0", "expert-1", "expert-2"]);
    await expect(convertPhatgoose(source, out, "activations")).rejects.toThrow(/unfinished conversion/);
    await expect(convertPhatgoose(await saved("another.pt", state), out, "gates")).rejects.toThrow(/unfinished conversion/);
    expect((await convertPhatgoose(source, out, "gates")).kept).toBe(3);
    expect(await readFile(join(out, "pool.json"))).toEqual(await readFile(at("pool-without/pool.json")));
    await expect(convertPhatgoose(source, out, "gates")).rejects.toThrow(/pool here already/);
  });

  test("names: the authors' where their number is a published pool's, or those given", async () => {
    const one = (i: number): State => ({
      [`m._addons.expert_lora.layer1__${i}`]: float32([2, 1]),
      [`m._addons.expert_lora.layer2__${i}`]: float32([1, 2]),
    });
    const many = await saved("many.pt", Object.assign({}, ...Array.from({ length: 166 }, (_, i) => one(i))));
    const { experts, warnings } = await convertPhatgoose(many, at("many"), "gates");
    expect([experts[0], experts[36], experts[165]]).toEqual(["P3Agnews", "Flanv2zsAi2arceasy", "Flanv2zsWmt14translatefren"]);
    expect(new Set(experts).size).toBe(166);
    expect(warnings.join(" ")).toMatch(/no router vectors/);
    const two = await saved("two.pt", { ...one(0), ...one(1) });
    expect((await convertPhatgoose(two, at("two"), "gates", { names: ["left", "right"] })).experts).toEqual(["left", "right"]);
    for (const names of [["left"], ["left", "left"], ["left", "../right"]]) {
      await expect(convertPhatgoose(two, at("never"), "gates", { names })).rejects.toThrow(UserError);
    }
  });
});

test("Average Activation: logits are the authors', and the experts have no gates", async () => {
  const averages = await goldenTensors("average_activation/average_activation.safetensors");
  const own = Object.fromEntries(Object.entries(state).filter(([name]) => /expert_lora.*__[012]$/.test(name)));
  for (const name of averages.names) if (name.startsWith("embedding.")) own[name.slice("embedding.".length)] = averages.float(name);
  await convertPhatgoose(await saved("average.pt", own), at("average"), "activations");
  expect((await readdir(at("average/experts/expert-1"))).sort()).toEqual([
    "adapter_config.json",
    "adapter_model.safetensors",
    "average_activation.safetensors",
  ]);
  const { expected, logits } = await routed(at("average"), averageActivation(), "average_activation/average_activation.safetensors");
  expectClose(logits, expected.float("original.logits"), 1e-4);
});

test("Merged Experts: one adapter, of the averages that the authors' script makes", async () => {
  const merged: State = {};
  for (const [name, { shape }] of Object.entries(state)) {
    if (!name.endsWith("__0")) continue;
    const all = Array.from({ length: 7 }, (_, i) => state[name.replace(/0$/, String(i))]!.data);
    const isVector = name.includes("embeddings");
    merged[name] = float32(
      shape,
      all[0]!.map((_, at) => (isVector ? 0 : all.reduce((sum, data) => sum + data[at]!, 0) / 7)),
    );
  }
  const file = await saved("merged.pt", merged);
  expect(await convertMergedExperts(file, at("merged"))).toEqual({ directory: at("merged"), modules: 36, warnings: [] });
  const adapter = await loadAdapter(at("merged"), model.base.modules);
  const module = "decoder.block.1.layer.1.EncDecAttention.k";
  expect(adapter.modules.get(module)).toMatchObject({
    scaling: 1 / 4,
    a: transposed(merged[`${module}._addons.expert_lora.layer1__0`]!),
    b: transposed(merged[`${module}._addons.expert_lora.layer2__0`]!),
  });
  await expect(convertMergedExperts(file, at("merged"))).rejects.toThrow(/adapter here already/);
  await expect(convertMergedExperts(golden("torch_files/phatgoose.pt"), at("never"))).rejects.toThrow(/7 experts, which nobody has merged/);
  const { warnings } = await convertPhatgoose(file, at("merged-pool"), "gates");
  expect(warnings.join(" ")).toMatch(/All router vectors are zero, as in the authors' Merged Experts/);
});

describe("refused by name, and nothing is written", () => {
  const [LORA, ROUTER] = ["m._addons.expert_lora", "m._addons.router.expert_embeddings"];
  const sound: State = {
    [`${LORA}.layer1__0`]: float32([3, 2]),
    [`${LORA}.layer2__0`]: float32([2, 4]),
    [`${ROUTER}__0`]: float32([3]),
  };
  const second: State = { [`${LORA}.layer1__1`]: float32([3, 2]), [`${LORA}.layer2__1`]: float32([2, 4]), [`${ROUTER}__1`]: float32([3]) };

  test.each<[string, State, RegExp]>([
    ["a whole weight", { ...sound, "m.weight": float32([4, 3]) }, /"m\.weight" is none of this form/],
    ["a product instead of factors", { ...sound, "m._addons.expert_lora.outer__0": float32([3, 4]) }, /outer__0" is none of this form/],
    ["LoRAs before the authors' own conversion", { "m.expert_lora_a": float32([2, 3]) }, /expert_lora_a" is none of this form/],
    ["half a LoRA", { ...sound, ...second, "n._addons.expert_lora.layer1__1": float32([3, 2]) }, /Expert 1 has no layer2 of n/],
    [
      "a router for a whole stack",
      { ...sound, "decoder._addons.router.expert_embeddings__0": float32([3]) },
      /no layer1 and layer2 of decoder/,
    ],
    [
      "a number left out",
      { ...sound, [`${LORA}.layer1__2`]: float32([3, 2]), [`${LORA}.layer2__2`]: float32([2, 4]) },
      /none with number 1/,
    ],
    ["ranks that differ", { ...sound, [`${LORA}.layer2__0`]: float32([3, 4]) }, /shapes \[3, 2\], \[3, 4\]/],
    ["a vector of another width", { ...sound, [`${ROUTER}__0`]: float32([4]) }, /shapes .*\[4\]/],
    ["stacked experts", { ...sound, [`${LORA}.layer1__0`]: float32([1, 3, 2]) }, /shapes \[1, 3, 2\]/],
    [
      "an expert without its vectors",
      { ...sound, [`${LORA}.layer1__1`]: float32([3, 2]), [`${LORA}.layer2__1`]: float32([2, 4]) },
      /Expert 1 has no router vector for m/,
    ],
    ["an empty file", {}, /holds no experts/],
  ])("%s", async (_, tensors, message) => {
    const file = await saved("refused.pt", tensors);
    await expect(convertPhatgoose(file, at("never"), "gates")).rejects.toThrow(message);
    await expect(access(at("never"))).rejects.toThrow();
  });
});
