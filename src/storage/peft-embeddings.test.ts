import { readdirSync } from "node:fs";
import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { TINY_LLAMA, temporary } from "../../tests/adapter-fixtures.ts";
import { golden } from "../../tests/golden.ts";
import type { Adapter, LoraWeights } from "../adapters/adapter.ts";
import { CONFIG_FILE, TENSOR_FILE } from "../adapters/file-names.ts";
import type { ModuleSizes } from "../adapters/modules.ts";
import { AdapterError } from "../base/errors.ts";
import { float32, type HostTensor } from "../base/tensor.ts";
import { readSafetensors, writeSafetensors } from "../checkpoint/safetensors.ts";
import { openBase } from "../inference/base.ts";
import { loadModel } from "../library/model.ts";
import { checkAdapter } from "./check.ts";
import { loadAdapter } from "./peft.ts";
import { saveAdapter } from "./peft-save.ts";

const SAVED = "tests/golden/lora_variants/embedding_and_head";
const WHOLE = "base_model.model.model.embed_tokens.weight";
const FROZEN = "base_model.model.model.embed_tokens.base_layer.weight";
type Dtype = NonNullable<Parameters<typeof writeSafetensors>[2]>["dtype"];

/** The tiny Llama with the locations of its tensors. */
const llama = async (): Promise<ModuleSizes> => (await openBase(golden("llama/model"))).modules;

/** A copy of PEFT's adapter with tensors added or changed, and keys of its configuration. */
async function variant(
  change: (tensors: Map<string, HostTensor>) => void,
  config: Record<string, unknown> = {},
  dtype?: Dtype,
): Promise<string> {
  const folder = temporary();
  await cp(SAVED, folder, { recursive: true });
  const tensors = await readSafetensors(join(folder, TENSOR_FILE));
  change(tensors);
  await writeSafetensors(join(folder, TENSOR_FILE), tensors, dtype ? { dtype } : {});
  const raw = JSON.parse(await readFile(join(folder, CONFIG_FILE), "utf8"));
  await writeFile(join(folder, CONFIG_FILE), JSON.stringify({ ...raw, ...config }));
  return folder;
}

const lora = (inputs: number, out: number, embedding?: true): LoraWeights => ({
  rank: 2,
  scaling: 0.5,
  a: float32([2, inputs], new Float32Array(2 * inputs).fill(0.1)),
  b: float32([out, 2], new Float32Array(2 * out).fill(0.2)),
  ...(embedding && { embedding }),
});
const adapterOf = (modules: Record<string, LoraWeights>): Adapter => ({
  kind: "lora",
  modules: new Map(Object.entries(modules)),
  warnings: [],
});

test("what PEFT saved with embeddings and head loads, says so, and is saved under PEFT's names", async () => {
  const modules = await llama();
  const adapter = await loadAdapter(SAVED, modules);
  expect([...adapter.modules.keys()].filter((module) => !module.includes("layers"))).toEqual(["lm_head", "model.embed_tokens"]);
  expect(adapter.modules.get("model.embed_tokens")).toMatchObject({ rank: 4, scaling: 2, embedding: true, b: { shape: [64, 4] } });
  expect(adapter.warnings).toEqual(["lm_head", "model.embed_tokens"].map((name) => expect.stringContaining(`${name}.base_layer.weight`)));
  expect(await checkAdapter(SAVED, modules)).toMatchObject({ usable: true, embeddings: ["model.embed_tokens"], ranks: [4] });
  expect(await checkAdapter(SAVED)).toMatchObject({ usable: true, embeddings: ["model.embed_tokens"], against: "itself" });

  const folder = temporary();
  await saveAdapter(folder, adapter);
  const [again, before] = [await readSafetensors(join(folder, TENSOR_FILE)), await readSafetensors(join(SAVED, TENSOR_FILE))];
  expect([...again.keys()].sort()).toEqual([...before.keys()].filter((name) => !name.includes("base_layer")).sort());
  for (const [name, tensor] of again) expect(tensor).toEqual(before.get(name));
  expect((await loadAdapter(folder, modules)).modules).toEqual(adapter.modules);
});

describe("embeddings saved whole beside the adapter", () => {
  const dtypes: (Dtype | undefined)[] = [undefined, "BF16", "F16"];
  test.each(dtypes)("are passed over when they are the base's own (saved as %s)", async (dtype) => {
    const folder = await variant((tensors) => tensors.set(WHOLE, tensors.get(FROZEN)!), {}, dtype);
    const adapter = await loadAdapter(folder, await llama());
    expect(adapter.warnings).toContainEqual(expect.stringContaining(`"${WHOLE}" equals the base model's own tensor`));
  });

  test("are refused when a number differs, when their size does, and where there is no base to tell", async () => {
    const changed = await variant((tensors) => {
      const own = tensors.get(FROZEN) as HostTensor<"float32">;
      tensors.set(
        WHOLE,
        float32(
          own.shape,
          own.data.map((value, i) => (i === 77 ? value + 1e-3 : value)),
        ),
      );
    });
    await expect(loadAdapter(changed, await llama())).rejects.toThrow(/embed_tokens\.weight" is a whole tensor.*: 1 of its 10240 numbers/);
    const resized = await variant((tensors) => tensors.set(WHOLE, float32([162, 64])));
    await expect(loadAdapter(resized, await llama())).rejects.toThrow(/it is \[162, 64\], the base's \[160, 64\]/);
    const same = await variant((tensors) => tensors.set(WHOLE, tensors.get(FROZEN)!));
    await expect(loadAdapter(same, TINY_LLAMA)).rejects.toThrow(/cannot be told whether it was trained/);
    expect((await checkAdapter(same)).problems).toEqual([expect.objectContaining({ code: "adapter-needs-base" })]);
  });
});

describe("what does not fit is refused by name", () => {
  const rename = (from: string, to: string) => (tensors: Map<string, HostTensor>) => {
    for (const [name, tensor] of [...tensors]) {
      if (!name.includes(from)) continue;
      tensors.delete(name);
      tensors.set(name.replace(from, to), tensor);
    }
  };
  const cases: [string, (tensors: Map<string, HostTensor>) => void, Record<string, unknown>, RegExp][] = [
    [
      "a frozen weight of another vocabulary",
      (t) => t.set(FROZEN, float32([161, 64])),
      {},
      /weight \[161, 64\]; this base has \[160, 64\]/,
    ],
    [
      "a projection's tensors on embeddings",
      rename("lora_embedding_A", "lora_A.weight"),
      {},
      /is a table of embeddings in this base model/,
    ],
    [
      "an embedding's tensors on a projection",
      rename("lm_head.lora_A.weight", "lm_head.lora_embedding_A"),
      {},
      /lm_head is a projection in this base model/,
    ],
    ["half a pair", (t) => t.delete("base_model.model.model.embed_tokens.lora_embedding_B"), {}, /has only one of lora_A and lora_B/],
    [
      "another vocabulary",
      (t) => t.set("base_model.model.model.embed_tokens.lora_embedding_A", float32([4, 159])),
      {},
      /embed_tokens: expected shape \[4, 160\]/,
    ],
    [
      "a classifier's head",
      (t) => t.set("base_model.model.score.weight", float32([2, 64])),
      {},
      /score\.weight" is the head of a classifier/,
    ],
  ];
  test.each(cases)("%s", async (_, change, config, message) => {
    const attempt = loadAdapter(await variant(change, config), await llama());
    await expect(attempt).rejects.toThrow(message);
    await expect(attempt).rejects.toBeInstanceOf(AdapterError);
  });

  test("(IA)3 on embeddings", async () => {
    const folder = temporary();
    const name = "base_model.model.model.embed_tokens.ia3_l";
    await writeSafetensors(join(folder, TENSOR_FILE), new Map([[name, float32([64, 1])]]));
    await writeFile(join(folder, CONFIG_FILE), JSON.stringify({ peft_type: "IA3", target_modules: ["embed_tokens"] }));
    await expect(loadAdapter(folder, await llama())).rejects.toThrow(/\(IA\)3 on embeddings is not supported/);
  });

  test("adapters tied to one another, where the base's weights are tied", async () => {
    const { modules } = await openBase(golden("gpt2/model"));
    const folder = temporary();
    await saveAdapter(folder, adapterOf({ "transformer.wte": lora(160, 64, true) }));
    const config = JSON.parse(await readFile(join(folder, CONFIG_FILE), "utf8"));
    await writeFile(join(folder, CONFIG_FILE), JSON.stringify({ ...config, ensure_weight_tying: true }));
    await expect(loadAdapter(folder, modules)).rejects.toThrow(/ensure_weight_tying is true and the adapter covers transformer\.wte/);
    // Without tied weights the key has no effect.
    await expect(loadAdapter(await variant(() => {}, { ensure_weight_tying: true }), await llama())).resolves.toMatchObject({
      kind: "lora",
    });
  });
});

test("a task with another head is a warning", async () => {
  const { warnings } = await loadAdapter(await variant(() => {}, { task_type: "SEQ_CLS" }), await llama());
  expect(warnings).toContainEqual(expect.stringContaining("task_type is SEQ_CLS"));
});

test("a head outside the prefix is found under either spelling of GPT-2", async () => {
  const saved = adapterOf({ "transformer.wte": lora(160, 64, true), "transformer.h.0.attn.c_attn": lora(64, 192), lm_head: lora(64, 160) });
  const published = temporary();
  await cp(golden("gpt2/model"), published, { recursive: true });
  for (const file of readdirSync(published).filter((name) => name.endsWith(".safetensors"))) {
    const tensors = await readSafetensors(join(published, file));
    await writeSafetensors(join(published, file), new Map([...tensors].map(([name, t]) => [name.replace("transformer.", ""), t])));
  }
  const [plain, bare] = [await openBase(golden("gpt2/model")), await openBase(published)];
  const folder = temporary();
  await saveAdapter(folder, saved);
  const read = await loadAdapter(folder, bare.modules);
  expect([...read.modules.keys()].sort()).toEqual(["h.0.attn.c_attn", "lm_head", "wte"]);
  // The reverse: names without the prefix, for a base that has it.
  const other = temporary();
  await saveAdapter(other, read);
  expect((await loadAdapter(other, plain.modules)).modules).toEqual(saved.modules);
});

test("T5's shared embeddings are never called: an adapter on them loads, changes nothing, and says so", async () => {
  const model = await loadModel(golden("t5/model"));
  const folder = temporary();
  await saveAdapter(folder, adapterOf({ shared: lora(160, 64, true) }));
  const adapter = await loadAdapter(folder, model.base.modules);
  expect(adapter.warnings).toEqual([expect.stringContaining("never calls shared")]);
  expect(await checkAdapter(folder, model.base.modules)).toMatchObject({ usable: true, embeddings: ["shared"] });
});
