import { cp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { TINY_LLAMA, temporary } from "../../tests/adapter-fixtures.ts";
import { GATE_CONFIG_FILE, GATE_FILE, TENSOR_FILE } from "../adapters/file-names.ts";
import { float32, type HostTensor } from "../base/tensor.ts";
import { readSafetensors, writeSafetensors } from "../checkpoint/safetensors.ts";
import { noteGates, writeModelCard } from "./card.ts";
import { checkAdapter } from "./check.ts";
import { loadExpert, saveGates } from "./expert.ts";
import { loadAdapter } from "./peft.ts";
import { saveAdapter } from "./peft-save.ts";

const ADAPTER = "tests/golden/lora_variants/default_targets";

async function expertFolder(change: (gates: Map<string, HostTensor<"float32">>) => void = () => {}): Promise<string> {
  const folder = join(temporary(), "history");
  await cp(ADAPTER, folder, { recursive: true });
  const { modules } = await loadAdapter(folder, TINY_LLAMA);
  const gates = new Map([...modules.keys()].map((module, i) => [module, float32([64], new Float32Array(64).fill(i + 1))]));
  change(gates);
  await saveGates(folder, gates, { baseFingerprint: "abc", training: { steps: 100 } });
  return folder;
}

describe("an expert", () => {
  test("is an adapter with a gate per module, and stays one for PEFT", async () => {
    const folder = await expertFolder();
    const expert = await loadExpert(folder, TINY_LLAMA, { fingerprint: "abc" });
    expect(expert).toMatchObject({ name: "history", baseFingerprint: "abc", warnings: [] });
    expect([...(expert.gates?.keys() ?? [])].sort()).toEqual([...expert.adapter.modules.keys()].sort());
    expect(expert.gates?.get("model.layers.0.self_attn.v_proj")?.data).toEqual(new Float32Array(64).fill(2));
    expect(JSON.parse(await readFile(join(folder, GATE_CONFIG_FILE), "utf8"))).toMatchObject({ gate_type: "PHATGOOSE", steps: 100 });
  });

  test("may have no gates", async () => {
    const expert = await loadExpert(ADAPTER, TINY_LLAMA);
    expect(expert.gates).toBeUndefined();
    expect(expert.name).toBe("default_targets");
  });

  test("needs no more than the gate's type, and is warned about the rest", async () => {
    const folder = await expertFolder();
    await writeFile(join(folder, GATE_CONFIG_FILE), '{ "gate_type": "PHATGOOSE", "note": 1 }');
    const expert = await loadExpert(folder, TINY_LLAMA, { fingerprint: "abc" });
    expect(expert.gates?.size).toBe(4);
    expect(expert.warnings).toEqual([expect.stringContaining("base_fingerprint")]);
  });

  const broken: [string, (gates: Map<string, HostTensor<"float32">>) => void, RegExp][] = [
    ["a missing gate", (gates) => gates.delete("model.layers.1.self_attn.q_proj"), /No gate for model.layers.1.self_attn.q_proj/],
    [
      "a gate without adapter",
      (gates) => gates.set("model.layers.0.mlp.up_proj", float32([64])),
      /gate for model.layers.0.mlp.up_proj, which the adapter does not cover/,
    ],
    [
      "a gate of another length",
      (gates) => gates.set("model.layers.0.self_attn.q_proj", float32([32])),
      /has shape \[32\]; expected \[64\]/,
    ],
    ["a gate for an unknown module", (gates) => gates.set("model.layers.9.self_attn.q_proj", float32([64])), /no module "model.layers.9/],
  ];
  test.each(broken)("%s is refused by name", async (_title, change, message) => {
    await expect(loadExpert(await expertFolder(change), TINY_LLAMA)).rejects.toThrow(message);
  });

  test("another base's fingerprint, another gate type and half of the files are refused", async () => {
    const folder = await expertFolder();
    await expect(loadExpert(folder, TINY_LLAMA, { fingerprint: "def" })).rejects.toThrow(/fingerprint abc, this base has def/);
    await writeFile(join(folder, GATE_CONFIG_FILE), '{ "gate_type": "OTHER" }');
    await expect(loadExpert(folder, TINY_LLAMA)).rejects.toThrow(/gate_type is "OTHER"/);
    await rm(join(folder, GATE_CONFIG_FILE));
    await expect(loadExpert(folder, TINY_LLAMA)).rejects.toThrow(/gate_config.json is missing/);
  });
});

test("an adapter without gates remembers its base too", async () => {
  const folder = join(temporary(), "ungated");
  await saveAdapter(folder, await loadAdapter(ADAPTER, TINY_LLAMA), { baseFingerprint: "abc" });
  await expect(loadExpert(folder, TINY_LLAMA, { fingerprint: "abc" })).resolves.toMatchObject({ name: "ungated" });
  await expect(loadExpert(folder, TINY_LLAMA, { fingerprint: "def" })).rejects.toThrow(/fingerprint abc, this base has def/);
  expect(await checkAdapter(folder, TINY_LLAMA, { fingerprint: "def" })).toMatchObject({
    usable: false,
    problems: [{ what: expect.stringContaining("another base model") }],
  });
  await expect(loadExpert(ADAPTER, TINY_LLAMA, { fingerprint: "def" })).resolves.toBeDefined(); // records nothing
});

describe("a model card", () => {
  const card = { name: "history", base: "t5-small", steps: 100, metrics: { accuracy: 0.5 }, license: "apache-2.0", gated: true };

  test("says what the expert is, and is renewed until somebody edits it", async () => {
    const folder = temporary();
    expect(await writeModelCard(folder, card)).toBe(true);
    expect(await writeModelCard(folder, { ...card, steps: 200 })).toBe(true);
    const text = await readFile(join(folder, "README.md"), "utf8");
    expect(text).toMatch(/^---\nbase_model: t5-small\nlibrary_name: peft\nlicense: apache-2.0\n/);
    expect(text).toContain("Training steps: 200");
    expect(text).toContain("| accuracy | 0.5 |");
    await writeModelCard(folder, { name: "history", base: "t5-small" });
    await noteGates(folder);
    expect(await readFile(join(folder, "README.md"), "utf8")).toContain("- Gates: gate_model.safetensors");
    expect(await writeModelCard(folder, card)).toBe(true);
    await writeFile(join(folder, "README.md"), text.replace("# history", "# History of Rome"));
    expect(await writeModelCard(folder, card)).toBe(false);
    expect(await readFile(join(folder, "README.md"), "utf8")).toContain("# History of Rome");
  });
});

describe("a check", () => {
  test("reports what an adapter holds, with and without a base", async () => {
    const folder = await expertFolder();
    const report = await checkAdapter(folder, TINY_LLAMA);
    expect(report).toMatchObject({
      usable: true,
      kind: "lora",
      baseName: "llama",
      against: "base",
      ranks: [8],
      scalings: [2],
      dtypes: ["F32"],
      gates: true,
    });
    expect(report.modules).toContain("model.layers.1.self_attn.v_proj");
    expect(report.parameters).toBe(2 * (8 * 64 + 64 * 8 + 8 * 64 + 32 * 8));
    expect(await checkAdapter(folder)).toMatchObject({ usable: true, against: "itself", problems: [] });
  });

  test("without a base says which architectures have such modules, and refuses what none has", async () => {
    const folder = await expertFolder();
    expect((await checkAdapter(folder)).modelTypes).toContain("llama");
    expect(await checkAdapter(folder, TINY_LLAMA)).not.toHaveProperty("modelTypes");
    const tensors = await readSafetensors(join(ADAPTER, TENSOR_FILE));
    const odd = [...tensors].map(([name, tensor]) => [name.replace("self_attn", "self_attention"), tensor] as const);
    const other = join(temporary(), "other");
    await cp(ADAPTER, other, { recursive: true });
    await writeSafetensors(join(other, TENSOR_FILE), new Map(odd));
    expect(await checkAdapter(other)).toMatchObject({
      usable: false,
      modelTypes: [],
      problems: [{ what: expect.stringMatching(/No supported architecture has a module named "model\.layers\.\d\.self_attention/) }],
    });
  });

  test("reports what will be refused instead of throwing", async () => {
    const dora = await checkAdapter("tests/golden/lora_variants/dora", TINY_LLAMA);
    expect(dora).toMatchObject({
      usable: false,
      problems: [{ what: expect.stringContaining("use_dora"), fix: expect.stringContaining("Merge") }],
    });
    // The report still describes the content.
    expect(dora).toMatchObject({ kind: "lora", baseName: "llama", ranks: [4], scalings: [2], dtypes: ["F32"] });
    expect(dora.modules).toHaveLength(14);
    expect(await checkAdapter("tests/golden/lora_variants")).toMatchObject({ usable: false, modules: [], ranks: [], parameters: 0 });
    const folder = await expertFolder();
    await writeSafetensors(join(folder, GATE_FILE), new Map([["x.gate", float32([1])]]));
    const report = await checkAdapter(folder, TINY_LLAMA);
    expect(report).toMatchObject({ usable: false, ranks: [8], problems: [{ what: expect.stringContaining('no module "x"') }] });
  });
});
