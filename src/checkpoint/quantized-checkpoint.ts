/** @file Detects quantized checkpoints: by `quantization_config` in config.json (transformers), by `quantization` (MLX), or by the tensors
 *  that each form stores beside the weights. A form that Skein supports moves from this table to its own file. */

import { CheckpointError } from "../base/errors.ts";
import type { TensorInfo } from "./safetensors-header.ts";

interface Form {
  readonly name: string;
  /** The value of `quant_method`. */
  readonly methods: readonly string[];
  /** Names of tensors that only this form has. */
  readonly marks?: RegExp;
  /** Whether the tensors with these names are of this form; another form may use the same names. */
  readonly isOwn?: (tensors: ReadonlyMap<string, TensorInfo>) => boolean;
  /** How to convert the weights back to floats. */
  readonly fix: string;
}

const python = (...lines: string[]): string => `or in Python: ${lines.join("; ")}.`;
const DEQUANTIZED = python("m = AutoModelForCausalLM.from_pretrained(folder)", "m.dequantize()", "m.save_pretrained(new_folder)");
const DECOMPRESSED = python(
  "m = AutoModelForCausalLM.from_pretrained(folder, quantization_config=CompressedTensorsConfig(run_compressed=False))",
  "m.save_pretrained(new_folder)",
);
const FROM_FP8 = python(
  "m = AutoModelForCausalLM.from_pretrained(folder, quantization_config=FineGrainedFP8Config(dequantize=True))",
  "m.save_pretrained(new_folder)",
);

const hasSuffix = (tensors: ReadonlyMap<string, TensorInfo>, suffix: string): boolean =>
  [...tensors.keys()].some((name) => name.endsWith(suffix));

const FORMS: readonly Form[] = [
  {
    name: "bitsandbytes",
    methods: ["bitsandbytes", "bitsandbytes_4bit", "bitsandbytes_8bit"],
    marks: /\.(?:absmax|quant_map|nested_absmax|nested_quant_map|SCB|weight_format|quant_state\.bitsandbytes__\w+)$/,
    fix: DEQUANTIZED,
  },
  {
    name: "GPTQ",
    methods: ["gptq", "auto-round", "auto_round"],
    marks: /\.(?:qweight|qzeros|g_idx)$/,
    isOwn: (tensors) => hasSuffix(tensors, ".g_idx"),
    fix: DEQUANTIZED,
  },
  { name: "AWQ", methods: ["awq"], marks: /\.(?:qweight|qzeros)$/, fix: DEQUANTIZED },
  {
    name: "compressed-tensors",
    methods: ["compressed-tensors", "compressed_tensors"],
    marks: /\.(?:weight_packed|weight_shape|weight_zero_point)$/,
    fix: DECOMPRESSED,
  },
  { name: "HQQ", methods: ["hqq"], marks: /\.(?:W_q|W_q_packed)$/, fix: DEQUANTIZED },
  {
    name: "FP8",
    methods: ["fp8", "fbgemm_fp8", "finegrained_fp8", "modelopt"],
    marks: /\.(?:weight_scale_inv|weight_scale|input_scale)$/,
    fix: FROM_FP8,
  },
  { name: "MXFP4", methods: ["mxfp4"], marks: /_(?:blocks|scales)$/, fix: DEQUANTIZED },
  {
    name: "MLX",
    methods: ["mlx"],
    marks: /\.(?:scales|biases)$/,
    isOwn: (tensors) => [...tensors.values()].some(({ dtype }) => dtype === "U32"),
    fix: "or convert it: mlx_lm.convert --hf-path FOLDER --mlx-path NEW_FOLDER --dequantize.",
  },
];

export interface Quantization {
  /** "GPTQ", or the value of quant_method in the file. */
  readonly kind: string;
  /** Bits per weight, if the configuration gives them. */
  readonly bits?: number;
  /** A tensor of this form; undefined when only the configuration mentions quantization. */
  readonly tensor?: string;
  readonly fix: string;
}

type Tensors = ReadonlyMap<string, TensorInfo>;
type Config = Readonly<Record<string, unknown>>;

/** How the weights are quantized, or undefined. */
export function quantizationOf(config: Config, tensors: Tensors): Quantization | undefined {
  const text = record(config.text_config);
  const settings = record(config.quantization_config) ?? record(text?.quantization_config);
  const mlx = record(config.quantization);
  const method = typeof settings?.quant_method === "string" ? settings.quant_method : undefined;
  const named = mlx && method === undefined ? "mlx" : method?.toLowerCase();
  const form = named === undefined ? undefined : FORMS.find(({ methods }) => methods.includes(named));
  const bits = bitsOf(settings ?? mlx);
  if (named !== undefined || settings) {
    const kind = form?.name ?? named ?? "an unnamed method";
    const tensor = [...tensors.values()].find((info) => isQuantized(info, form))?.name;
    return { kind, fix: form?.fix ?? "", ...(bits && { bits }), ...(tensor && { tensor }) };
  }
  for (const { name: kind, marks, isOwn, fix } of FORMS) {
    const tensor = marks && [...tensors.keys()].find((name) => marks.test(name));
    if (tensor !== undefined && (isOwn?.(tensors) ?? true)) return { kind, tensor, fix };
  }
  const eight = [...tensors.values()].find(({ dtype }) => dtype.startsWith("F8_"));
  return eight && { kind: "FP8", tensor: eight.name, fix: FROM_FP8 };
}

/** Refuses a checkpoint whose tensors are quantized. Plain floats pass, even if the configuration says that they are quantized. */
export function refuseQuantized({ config, tensors, directory }: { config: Config; tensors: Tensors; directory: string }): void {
  const found = quantizationOf(config, tensors);
  if (found?.tensor === undefined) return;
  const { kind, bits, tensor, fix } = found;
  throw new CheckpointError({
    code: "checkpoint-quantized",
    data: { kind },
    what: `The weights are quantized with ${kind}${bits === undefined ? "" : ` (${bits} bits)`}, as the tensor ${tensor} shows; quantized weights are not read.`,
    where: directory,
    fix: `Take the model that it was made from, which is not quantized${fix === "" ? "." : `, ${fix}`}`,
  });
}

/** Whether a tensor belongs to a quantized form: by its name, or as a matrix that is not a float. */
function isQuantized({ name, dtype, shape }: TensorInfo, form: Form | undefined): boolean {
  if (form?.marks?.test(name)) return true;
  return shape.length === 2 && name.endsWith("weight") && !["F64", "F32", "F16", "BF16"].includes(dtype);
}

function bitsOf(settings: Config | undefined): number | undefined {
  if (typeof settings?.bits === "number") return settings.bits;
  if (settings?.load_in_4bit === true) return 4;
  return settings?.load_in_8bit === true ? 8 : undefined;
}

function record(value: unknown): Config | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Config) : undefined;
}
