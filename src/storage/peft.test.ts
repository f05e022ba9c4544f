import { readdirSync, readFileSync } from "node:fs";
import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { HAS_SHARED_ADAPTERS, SHARED_ADAPTERS, TINY_LLAMA, TINY_T5, temporary } from "../../tests/adapter-fixtures.ts";
import { CONFIG_FILE, TENSOR_FILE } from "../adapters/file-names.ts";
import type { ModuleSizes } from "../adapters/modules.ts";
import { ownSizes } from "../adapters/parse-adapter.ts";
import { AdapterError } from "../base/errors.ts";
import { float32, type HostTensor } from "../base/tensor.ts";
import { readSafetensors, writeSafetensors } from "../checkpoint/safetensors.ts";
import { loadAdapter, openAdapter } from "./peft.ts";
import { saveAdapter } from "./peft-save.ts";

const VARIANTS = "tests/golden/lora_variants";
interface Meta {
  cases: Record<
    string,
    {
      modules: Record<string, { r: number; lora_alpha: number; scaling: number }>;
      "scaling_0.12_vs_newer_peft"?: Record<string, [number, number]>;
    }
  >;
}
const meta: Meta = JSON.parse(readFileSync(join(VARIANTS, "meta.json"), "utf8"));
const REFUSED: Record<string, RegExp> = {
  dora: /use_dora/,
  modules_to_save: /modules_to_save/,
  lora_bias_all: /bias is "all"/,
};

describe("PEFT's LoRA options", () => {
  for (const [name, { modules, ...rest }] of Object.entries(meta.cases)) {
    if (name in REFUSED) {
      test(`${name} is refused by name`, async () => {
        await expect(loadAdapter(join(VARIANTS, name), TINY_LLAMA)).rejects.toThrow(REFUSED[name]);
      });
      continue;
    }
    test(`${name} gives the modules, ranks, scalings and numbers PEFT used`, async () => {
      const adapter = await loadAdapter(join(VARIANTS, name), TINY_LLAMA);
      if (adapter.kind !== "lora") throw new Error("expected LoRA");
      const newer = rest["scaling_0.12_vs_newer_peft"] ?? {};
      const expected = Object.entries(modules).map(([module, { r, scaling }]) => [module, r, newer[module]?.[1] ?? scaling]);
      expect([...adapter.modules].map(([module, { rank, scaling }]) => [module, rank, scaling]).sort()).toEqual(expected.sort());
      const tensors = await readSafetensors(join(VARIANTS, name, TENSOR_FILE));
      for (const [module, { a, b, embedding }] of adapter.modules) {
        const [nameA, nameB] = embedding ? ["lora_embedding_A", "lora_embedding_B"] : ["lora_A.weight", "lora_B.weight"];
        expect(a).toEqual(tensors.get(`base_model.model.${module}.${nameA}`));
        expect(b).toEqual(tensors.get(`base_model.model.${module}.${nameB}`));
      }
    });
  }

  test("a saved adapter reads back the same, with PEFT's names", async () => {
    for (const name of ["patterns_rslora", "layers_to_transform", "regex_targets"]) {
      const adapter = await loadAdapter(join(VARIANTS, name), TINY_LLAMA);
      const folder = temporary();
      await saveAdapter(folder, adapter);
      const again = await loadAdapter(folder, TINY_LLAMA);
      expect(again.modules).toEqual(adapter.modules);
      expect([...(await readSafetensors(join(folder, TENSOR_FILE))).keys()].sort()).toEqual(
        [...(await readSafetensors(join(VARIANTS, name, TENSOR_FILE))).keys()].sort(),
      );
    }
  });

  test("an adapter made in memory is saved with patterns for the modules that differ", async () => {
    const lora = (rank: number, scaling: number, seed: number) => ({
      rank,
      scaling,
      a: float32([rank, 64]).data.fill(seed),
      b: float32([64, rank]).data.fill(seed),
    });
    const make = ({ rank, scaling, a, b }: ReturnType<typeof lora>) => ({
      rank,
      scaling,
      a: float32([rank, 64], a),
      b: float32([64, rank], b),
      bias: float32([64]),
    });
    const modules = new Map([
      ["model.layers.0.self_attn.q_proj", make(lora(4, 0.25, 1))],
      ["model.layers.1.self_attn.q_proj", make(lora(4, 0.25, 2))],
      ["model.layers.0.self_attn.o_proj", make(lora(2, 3, 3))],
    ]);
    const folder = temporary();
    await saveAdapter(folder, { kind: "lora", modules, warnings: [] }, { baseName: "tiny" });
    const config = JSON.parse(await readFile(join(folder, CONFIG_FILE), "utf8"));
    expect(config).toMatchObject({ peft_type: "LORA", base_model_name_or_path: "tiny", r: 4, lora_alpha: 1, lora_bias: true });
    expect(config.rank_pattern).toEqual({ "model.layers.0.self_attn.o_proj": 2 });
    const again = await loadAdapter(folder, TINY_LLAMA);
    expect(again.modules).toEqual(modules);
  });

  test("(IA)3 scales: outputs of keys and values, inputs of the feed-forward module", async () => {
    const adapter = await loadAdapter("tests/golden/ia3_t5/adapter_init", TINY_T5);
    if (adapter.kind !== "ia3") throw new Error("expected (IA)3");
    expect(adapter.modules.size).toBe(16);
    expect(adapter.modules.get("encoder.block.0.layer.0.SelfAttention.k")).toMatchObject({ feedforward: false, scale: { shape: [48] } });
    expect(adapter.modules.get("encoder.block.0.layer.1.DenseReluDense.wo")).toMatchObject({ feedforward: true, scale: { shape: [96] } });
    const folder = temporary();
    await saveAdapter(folder, adapter);
    expect(await readSafetensors(join(folder, TENSOR_FILE))).toEqual(
      await readSafetensors(join("tests/golden/ia3_t5/adapter_init", TENSOR_FILE)),
    );
    expect((await loadAdapter(folder, TINY_T5)).modules).toEqual(adapter.modules);
  });
});

/** A copy of the default_targets adapter with its tensors renamed or its configuration changed. */
async function variant({
  rename = (name: string) => name,
  config = {},
  drop = () => false,
  add = [] as [string, HostTensor][],
}: {
  rename?: (name: string) => string;
  config?: Record<string, unknown>;
  drop?: (name: string) => boolean;
  add?: [string, HostTensor][];
}): Promise<string> {
  const folder = temporary();
  await cp(join(VARIANTS, "default_targets"), folder, { recursive: true });
  const tensors = await readSafetensors(join(folder, TENSOR_FILE));
  const kept = [...tensors].filter(([name]) => !drop(name)).map(([name, tensor]) => [rename(name), tensor] as const);
  await writeSafetensors(join(folder, TENSOR_FILE), new Map([...kept, ...add]));
  const raw = JSON.parse(await readFile(join(folder, CONFIG_FILE), "utf8"));
  await writeFile(join(folder, CONFIG_FILE), JSON.stringify({ ...raw, ...config }));
  return folder;
}

describe("names", () => {
  const spellings: Record<string, (name: string) => string> = {
    "the adapter's name inside": (name) => name.replace(".weight", ".default.weight"),
    "the prefix twice": (name) => `base_model.model.${name}`,
    "a compiled model": (name) => name.replace("base_model.model.", "base_model.model._orig_mod."),
    "a wrapped model": (name) => name.replace("base_model.model.", "base_model.model.wrapper."),
    "a headless model": (name) => name.replace("base_model.model.model.", "base_model.model."),
  };
  for (const [title, rename] of Object.entries(spellings)) {
    test(`${title} finds the same modules`, async () => {
      const plain = await loadAdapter(join(VARIANTS, "default_targets"), TINY_LLAMA);
      const adapter = await loadAdapter(await variant({ rename }), TINY_LLAMA);
      expect(adapter.modules).toEqual(plain.modules);
      const saved = temporary();
      await saveAdapter(saved, adapter);
      expect((await loadAdapter(saved, TINY_LLAMA)).modules).toEqual(plain.modules);
    });
  }

  test("a subfolder is found when it is the only one", async () => {
    const folder = temporary();
    await cp(join(VARIANTS, "default_targets"), join(folder, "default"), { recursive: true });
    expect((await loadAdapter(folder, TINY_LLAMA)).modules.size).toBe(4);
    await cp(join(VARIANTS, "rslora"), join(folder, "other"), { recursive: true });
    await expect(loadAdapter(folder, TINY_LLAMA)).rejects.toThrow(/holds 2 adapters/);
  });

  test("16-bit tensors become float32", async () => {
    const folder = await variant({});
    const tensors = await readSafetensors(join(folder, TENSOR_FILE));
    await writeSafetensors(join(folder, TENSOR_FILE), tensors, { dtype: "BF16" });
    const adapter = await loadAdapter(folder, TINY_LLAMA);
    expect([...adapter.modules.values()][0]).toMatchObject({ a: { dtype: "float32" } });
  });
});

describe("what does not fit is refused by name", () => {
  const cases: [string, Parameters<typeof variant>[0], RegExp][] = [
    ["an unknown module", { rename: (n) => n.replaceAll("q_proj", "query") }, /no module "model.layers.0.self_attn.query"[\s\S]*q_proj/],
    ["half a pair", { drop: (n) => n.includes("layers.1.self_attn.v_proj.lora_B") }, /only one of lora_A and lora_B/],
    [
      "a covered module without tensors",
      { drop: (n) => n.includes("layers.1.self_attn.v_proj") },
      /no tensors in the file: model.layers.1.self_attn.v_proj/,
    ],
    ["tensors that are not covered", { config: { target_modules: ["q_proj"] } }, /does not cover.*v_proj/],
    [
      "another base's shapes",
      { add: [["base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight", float32([32, 8])]] },
      /expected shape \[64, 8\]/,
    ],
    ["another rank", { config: { r: 4 } }, /says rank 4, but lora_A is \[8, 64\]/],
    ["an unknown key that is on", { config: { use_sparkle: 3 } }, /use_sparkle is 3/],
    ["PiSSA", { config: { init_lora_weights: "pissa_niter_16" } }, /init_lora_weights is "pissa_niter_16"/],
    [
      "LoRA-GA",
      { config: { init_lora_weights: "lora_ga", lora_ga_config: { direction: "ArB2r" } } },
      /"lora_ga": that initialization changes/,
    ],
    [
      "tensors that ZeRO-3 left empty",
      { add: [["base_model.model.model.layers.0.mlp.up_proj.lora_A.weight", float32([0])]] },
      /are empty, "[^"]*" \[0\] among them[\s\S]*ZeRO-3[\s\S]*gathered/,
    ],
    ["tensors in MLX's form", { add: [["model.layers.0.mlp.up_proj.lora_a", float32([2, 2])]] }, /MLX's form[\s\S]*transposed/],
    ["another method", { config: { peft_type: "PREFIX_TUNING" } }, /PREFIX_TUNING.*LORA.*IA3/],
    [
      "a resized vocabulary",
      { add: [["base_model.model.lm_head.weight", float32([2, 2])]] },
      /whole tensor of the base[\s\S]*Give the base model/,
    ],
    ["a tensor of unknown use", { add: [["base_model.model.model.layers.0.foo", float32([2])]] }, /left unused/],
    [
      "bare parameters, layer copies and activation tokens, all at once",
      { config: { target_parameters: ["x"], layer_replication: [[0, 2]], alora_invocation_tokens: [1] } },
      /layer_replication[\s\S]*target_parameters[\s\S]*alora_invocation_tokens/,
    ],
    ["new tokens", { config: { trainable_token_indices: [1] } }, /trainable_token_indices/],
    ["a pattern that only Python reads", { config: { target_modules: "(?>q|v)_proj" } }, /cannot be read here/],
  ];
  test.each(cases)("%s", async (_title, change, message) => {
    const attempt = loadAdapter(await variant(change), TINY_LLAMA);
    await expect(attempt).rejects.toThrow(message);
    await expect(attempt).rejects.toBeInstanceOf(AdapterError);
  });

  test("an unknown key that is off, and a target that names nothing, are warnings", async () => {
    const folder = await variant({ config: { use_sparkle: null, target_modules: ["q_proj", "v_proj", "c_attn"] } });
    const { warnings } = await loadAdapter(folder, TINY_LLAMA);
    expect(warnings).toEqual([expect.stringContaining("use_sparkle"), expect.stringContaining("c_attn")]);
  });
});

describe("experts of the PHATGOOSE authors' code", () => {
  test("load with the authors' scaling, 1 / rank", async () => {
    for (let z = 0; z < 7; z++) {
      const adapter = await loadAdapter(`tests/golden/phatgoose_t5/experts/expert_${z}`, TINY_T5);
      if (adapter.kind !== "lora") throw new Error("expected LoRA");
      expect(adapter.modules.size).toBe(TINY_T5.size);
      expect(new Set([...adapter.modules.values()].map(({ scaling }) => scaling))).toEqual(new Set([0.25]));
    }
  });
});

describe("public adapters (skipped where ../shared/adapters is absent)", () => {
  test.skipIf(!HAS_SHARED_ADAPTERS)("each loads against its own sizes, or is refused for its pickle", async () => {
    const loaded: Record<string, [number, number]> = {};
    for (const name of readdirSync(SHARED_ADAPTERS)) {
      const folder = join(SHARED_ADAPTERS, name);
      if (name.includes("binonly")) {
        await expect(openAdapter(folder)).rejects.toThrow(/pickle[\s\S]*Convert it first/);
        continue;
      }
      const sizes: ModuleSizes = ownSizes(await openAdapter(folder));
      const adapter = await loadAdapter(folder, sizes);
      const [first] = adapter.modules.values();
      loaded[name] = [adapter.modules.size, first && "scaling" in first ? first.scaling : 0];
    }
    expect(loaded).toMatchObject({
      "t5-small_r8_qv": [36, 2],
      gpt2_r8_doubleprefix: [12, 4],
      "opt-125m_r16_bf16": [24, 2],
      gpt2_r8_cattn_cproj_tigrinya: [36, 4],
    });
    expect(Object.keys(loaded).length).toBe(13);
  });
});

describe("adapters of MLX", () => {
  const write = async (config: object): Promise<string> => {
    const folder = temporary();
    await writeSafetensors(join(folder, "adapters.safetensors"), { "model.layers.0.self_attn.q_proj.lora_a": float32([8, 2]) });
    await writeFile(join(folder, CONFIG_FILE), JSON.stringify(config));
    return folder;
  };

  test("are told to be what they are, with how to convert them", async () => {
    const folder = await write({ fine_tune_type: "lora", num_layers: 1, lora_parameters: { rank: 2, scale: 20, dropout: 0 } });
    await expect(loadAdapter(folder, TINY_LLAMA)).rejects.toMatchObject({
      code: "adapter-foreign",
      message: expect.stringMatching(/adapter of MLX[\s\S]*lora_a \[in, rank\][\s\S]*transposed as[\s\S]*lora_alpha = scale \* rank/),
    });
    await expect(loadAdapter(await write({ lora_layers: 16 }), TINY_LLAMA)).rejects.toThrow(/adapter of MLX/);
  });

  test("of another form than LoRA are fused", async () => {
    await expect(loadAdapter(await write({ fine_tune_type: "dora", lora_parameters: {} }), TINY_LLAMA)).rejects.toThrow(/fix: *Fuse it/);
  });
});
