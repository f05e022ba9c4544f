import { expect, test } from "vitest";
import type { FileDType } from "./dtypes.ts";
import { quantizationOf, refuseQuantized } from "./quantized-checkpoint.ts";
import type { TensorInfo } from "./safetensors-header.ts";

type Tensors = Readonly<Record<string, FileDType>>;
const Q = "model.layers.0.self_attn.q_proj";

const tensorsOf = (dtypes: Tensors): ReadonlyMap<string, TensorInfo> =>
  new Map(
    Object.entries({ "model.norm.weight": "F16" as const, ...dtypes }).map(([name, dtype]) => [
      name,
      { name, dtype, shape: name.endsWith("norm.weight") ? [8] : [8, 8], file: "model.safetensors", offset: 0, bytes: 64 },
    ]),
  );

const forms: [string, object, Tensors, string][] = [
  ["bitsandbytes", { quant_method: "bitsandbytes", load_in_4bit: true }, { [`${Q}.weight`]: "U8", [`${Q}.weight.absmax`]: "U8" }, "4 bits"],
  ["bitsandbytes", { quant_method: "bitsandbytes", load_in_8bit: true }, { [`${Q}.weight`]: "I8", [`${Q}.SCB`]: "F32" }, "8 bits"],
  ["GPTQ", { quant_method: "gptq", bits: 4 }, { [`${Q}.qweight`]: "I32", [`${Q}.g_idx`]: "I32", [`${Q}.scales`]: "F16" }, "4 bits"],
  ["AWQ", { quant_method: "awq", bits: 4 }, { [`${Q}.qweight`]: "I32", [`${Q}.qzeros`]: "I32", [`${Q}.scales`]: "F16" }, "4 bits"],
  ["FP8", { quant_method: "fp8" }, { [`${Q}.weight`]: "F8_E4M3", [`${Q}.weight_scale_inv`]: "F32" }, "FP8,"],
  [
    "compressed-tensors",
    { quant_method: "compressed-tensors" },
    { [`${Q}.weight_packed`]: "I32", [`${Q}.weight_scale`]: "F16" },
    "tensors,",
  ],
  ["HQQ", { quant_method: "hqq" }, { [`${Q}.W_q`]: "U8" }, "HQQ,"],
];

test.each(forms)("%s is told by its configuration and by its tensors", (kind, quantization_config, dtypes, says) => {
  const tensors = tensorsOf(dtypes);
  const refuse = () => refuseQuantized({ config: { quantization_config }, tensors, directory: "base" });
  expect(refuse).toThrow(new RegExp(`quantized with ${kind}.*not read[\\s\\S]*not quantized, or in Python`));
  expect(refuse).toThrow(says);
  expect(quantizationOf({}, tensors)).toMatchObject({ kind });
});

test("MLX writes its own field", () => {
  const tensors = tensorsOf({ [`${Q}.weight`]: "U32", [`${Q}.scales`]: "F16", [`${Q}.biases`]: "F16" });
  const settings = { group_size: 64, bits: 4 };
  for (const config of [{ quantization: settings, quantization_config: settings }, { quantization: settings }, {}])
    expect(quantizationOf(config, tensors)).toMatchObject({ kind: "MLX", fix: expect.stringContaining("mlx_lm.convert") });
});

test("a method without a line is told by its name, in a text part too", () => {
  const tensors = tensorsOf({ [`${Q}.weight`]: "I8" });
  const config = { text_config: { quantization_config: { quant_method: "quilt" } } };
  expect(() => refuseQuantized({ config, tensors, directory: "base" })).toThrow(/quantized with quilt[\s\S]*Take the model/);
});

test("floats are floats, whatever else the file holds or says", () => {
  const tensors = tensorsOf({ [`${Q}.weight`]: "F16", "h.0.attn.bias": "U8", "embeddings.position_ids": "I64" });
  expect(quantizationOf({}, tensors)).toBeUndefined();
  const config = { quantization_config: { quant_method: "bitsandbytes", load_in_4bit: true } };
  expect(() => refuseQuantized({ config, tensors, directory: "base" })).not.toThrow();
  expect(quantizationOf(config, tensors)).toEqual({ kind: "bitsandbytes", bits: 4, fix: expect.any(String) });
});
