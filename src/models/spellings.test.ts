/** @file One model in many forms: tensors with other prefixes, fields with older and newer names; and the forms that are refused. */

import { expect, test } from "vitest";
import { respelled } from "../../tests/checkpoints.ts";
import { expectClose, golden, goldenTensors } from "../../tests/golden.ts";
import { float32, type HostTensor } from "../base/tensor.ts";
import { loadModel } from "../library/model.ts";

const TOLERANCE = 1e-4; // as in decoder-only.test.ts
type Config = Readonly<Record<string, unknown>>;

async function expectGolden(copy: string, file: string): Promise<void> {
  const expected = await goldenTensors(file);
  await using model = await loadModel(copy);
  const mask = expected.int("attention_mask");
  const { logits } = await model.forward({ inputIds: expected.int("input_ids"), attentionMask: mask });
  expectClose(logits, expected.float("logits"), TOLERANCE, mask);
}

test("GPT-2 as published, without the prefix `transformer.`: its modules are the file's own names", async () => {
  await respelled(golden("gpt2/model"), { tensor: (name) => name.replace("transformer.", "") }, async (copy) => {
    await expectGolden(copy, "gpt2/golden.safetensors");
    await using model = await loadModel(copy);
    expect(model.base.modules.get("h.0.attn.c_attn")).toMatchObject({ in: 64, out: 192 });
  });
});

test.each<[Config, (layer: number) => number]>([
  [{ scale_attn_by_inverse_layer_idx: true, reorder_and_upcast_attn: true }, (layer) => layer + 1],
  [{ scale_attn_weights: false }, () => 1 / Math.sqrt(16)],
])("GPT-2 with %j: queries that make up for it give the golden logits", async (change, factor) => {
  // c_attn is [in, q k v]; its columns 0..63, as those of its bias, make the queries.
  const values = (name: string, tensor: HostTensor): HostTensor => {
    const layer = /h\.(\d+)\.attn\.c_attn/.exec(name)?.[1];
    if (layer === undefined) return tensor;
    return float32(
      tensor.shape,
      (tensor.data as Float32Array).map((x, i) => (i % 192 < 64 ? x * factor(Number(layer)) : x)),
    );
  };
  const config = (original: Config) => ({ ...original, ...change });
  await respelled(golden("gpt2/model"), { config, values }, (copy) => expectGolden(copy, "gpt2/golden.safetensors"));
});

test("Qwen with the field names of August 2023", async () => {
  const old = (c: Config): Config => {
    const { hidden_size, num_hidden_layers, num_attention_heads, intermediate_size, vocab_size, ...rest } = c;
    return {
      ...rest,
      ...{ n_embd: hidden_size, n_layer: num_hidden_layers, n_head: num_attention_heads },
      ...{ ffn_hidden_size: intermediate_size, padded_vocab_size: vocab_size, vocab_size: 151 },
    };
  };
  await respelled(golden("qwen/model"), { config: old }, (copy) => expectGolden(copy, "qwen/golden.safetensors"));
});

test("Qwen past its trained length: each row has its own base, log-n counts slots", async () => {
  const short = (config: Config) => ({ ...config, seq_length: 10 });
  await respelled(golden("qwen/model"), { config: short }, (copy) => expectGolden(copy, "qwen_beyond/golden.safetensors"));
});

test.each([
  ["language_model.model.", "language_model."],
  ["model.language_model.", ""],
])("Gemma 3 beside a vision tower, tensors under %s", async (model, head) => {
  const config = ({ model_type: _, ...text }: Config) => ({ model_type: "gemma3", text_config: text, vision_config: {} });
  const tensor = (name: string) => (name.startsWith("model.") ? name.replace("model.", model) : head + name);
  const file = "decoders/gemma3_text";
  await respelled(golden(file), { config, tensor }, (copy) => expectGolden(copy, `${file}/golden.safetensors`));
});

test("rotary positions under `rope_parameters`, for the whole model and for each kind of layer", async () => {
  const whole = ({ rope_scaling, ...rest }: Config) => ({ ...rest, rope_parameters: { rope_theta: 10000, ...(rope_scaling as object) } });
  await respelled(golden("decoders/llama_llama3"), { config: whole }, (copy) =>
    expectGolden(copy, "decoders/llama_llama3/golden.safetensors"),
  );
  const byLayer = ({ rope_scaling, sliding_window_pattern, ...rest }: Config) => ({
    ...rest,
    layer_types: ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
    rope_parameters: {
      full_attention: { rope_theta: 1e6, ...(rope_scaling as object) },
      sliding_attention: { rope_type: "default", rope_theta: 1e4 },
    },
  });
  await respelled(golden("decoders/gemma3_text"), { config: byLayer }, (copy) =>
    expectGolden(copy, "decoders/gemma3_text/golden.safetensors"),
  );
});

test.each([
  [{ model_type: "bert" }, /Models of type "bert" are not supported/, /gemma2.*llama.*mistral.*phi3.*qwen, .*t5/],
  [{ rope_scaling: { rope_type: "mrope" } }, /scaling "mrope"/, /linear, dynamic, llama3, yarn, longrope/],
  [{ rope_scaling: { type: "llama3", factor: 8 } }, /low_freq_factor/, /published/],
  [{ hidden_act: "mish" }, /activation function "mish"/, /silu/],
  [{ num_key_value_heads: 3 }, /4 attention heads cannot share 3/, /published/],
  [{ hidden_size: "wide" }, /hidden_size/, /published/],
  [{ rope_scaling: { type: "longrope", short_factor: [1], long_factor: [1] } }, /1 factors.* 4 frequencies/, /published/],
  [{ model_type: "gemma3", use_bidirectional_attention: true }, /use_bidirectional_attention: only false/, /published/],
  [{ model_type: "gemma2", layer_types: ["chunked_attention"] }, /layer_types.0: .*"sliding_attention"/, /published/],
])("%j is refused by name", async (change, what, fix) => {
  await respelled(golden("decoders/llama_llama3"), { config: (config) => ({ ...config, ...change }) }, async (copy) => {
    await expect(loadModel(copy)).rejects.toMatchObject({ what: expect.stringMatching(what), fix: expect.stringMatching(fix) });
  });
});
