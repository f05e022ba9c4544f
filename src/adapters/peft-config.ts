/** @file Checks every key of PEFT's adapter_config.json (reference: huggingface/peft, config.py and tuners/lora/config.py).
 *
 *  A key is used, or it has no effect on what a trained adapter computes, or an error names it.
 *  An unknown key causes a warning if its value means "off" (null, false, empty), and an error otherwise. */

import * as z from "zod";
import { AdapterError, type Problem } from "../base/errors.ts";

interface CommonConfig {
  /** The recorded name or path of the base model, if there is one. */
  readonly baseName: string | undefined;
  readonly taskType: string | undefined;
  /** A Python regular expression for the whole path, a list of names, or undefined for PEFT's defaults. */
  readonly targetModules: string | readonly string[] | undefined;
  readonly excludeModules: string | readonly string[] | undefined;
  /** True where the base stores weights [in, out] (GPT-2's Conv1D). A and B are [rank, in] and [out, rank] either way. */
  readonly fanInFanOut: boolean;
}

export interface LoraConfig extends CommonConfig {
  readonly kind: "lora";
  readonly rank: number;
  readonly alpha: number;
  readonly rslora: boolean;
  readonly dropout: number;
  readonly rankPattern: Readonly<Record<string, number>>;
  readonly alphaPattern: Readonly<Record<string, number>>;
  readonly layersToTransform: readonly number[] | undefined;
  readonly layersPattern: readonly string[];
  readonly loraBias: boolean;
  /** Whether modules that share a weight share one adapter (ensure_weight_tying). */
  readonly tiesAdapters: boolean;
}

export interface Ia3Config extends CommonConfig {
  readonly kind: "ia3";
  readonly feedforwardModules: string | readonly string[];
}

export type PeftConfig = LoraConfig | Ia3Config;

export interface ReadConfig {
  readonly config: PeftConfig;
  readonly warnings: readonly string[];
}

const names = z.union([z.string(), z.array(z.string())]).nullish();
const flag = z.boolean().nullish();

const commonFields = {
  peft_type: z.string(),
  task_type: z.string().nullish(),
  base_model_name_or_path: z.string().nullish(),
  target_modules: names,
  exclude_modules: names,
  fan_in_fan_out: flag,
};
const loraFields = {
  r: z.int().positive().default(8),
  lora_alpha: z.number().default(8),
  lora_dropout: z.number().default(0),
  use_rslora: flag,
  rank_pattern: z.record(z.string(), z.int().positive()).nullish(),
  alpha_pattern: z.record(z.string(), z.number()).nullish(),
  layers_to_transform: z.union([z.int(), z.array(z.int())]).nullish(),
  layers_pattern: names,
  lora_bias: flag,
  ensure_weight_tying: flag,
};
const loraSchema = z.object({ ...commonFields, ...loraFields });
const ia3Schema = z.object({ ...commonFields, feedforward_modules: names });

/** Keys without effect on what a trained adapter computes. */
const WITHOUT_EFFECT = new Set([
  ..."auto_mapping inference_mode revision peft_version megatron_config megatron_core loftq_config corda_config eva_config".split(" "),
  ..."lora_ga_config runtime_config qalora_group_size init_ia3_weights".split(" "),
]);

/** Keys that must be off, with the remedy if they are not. */
const REFUSED: Readonly<Record<string, string>> = {
  use_dora: "Merge the DoRA adapter into its base with PEFT (merge_and_unload) and use the result as a base, or train plain LoRA.",
  modules_to_save: "Train again without modules_to_save, or merge the adapter with PEFT and use the result as a base.",
  target_parameters: "Adapters on bare parameters (experts of a sparse model) are not supported: target linear modules.",
  trainable_token_indices: "Train again without new tokens, or merge the adapter with PEFT and use the result as a base.",
  layer_replication: "The adapter belongs to a base with repeated layers: write that base out with PEFT and adapt it.",
  alora_invocation_tokens: "Activated LoRA switches on in mid-sequence, which is not supported: train plain LoRA.",
  use_qalora: "QA-LoRA pools its input, which is not supported: train plain LoRA.",
  use_bdlora: "Block-diagonal LoRA is not supported: train plain LoRA.",
  arrow_config: "Use the experts this router was built from as a pool, with the arrow router.",
};

/** Initializations that do not change the base's weights. The others (pissa, olora, corda, loftq, lora_ga, ...) subtract their first A and B
 *  from them. An adapter that was converted to plain LoRA has the value true. */
const PLAIN_INITIALIZATIONS: readonly unknown[] = [true, false, null, undefined, "gaussian", "orthogonal", "eva"];

const OTHER_KEYS = new Set(["bias", "init_lora_weights"]);

/** Reads the text of an adapter_config.json. Throws an AdapterError that names every problem at once. */
export function parsePeftConfig(text: string, where: string): ReadConfig {
  const raw = parseObject(text, where);
  refuseMlx(raw, where);
  const kind = String(raw.peft_type).toUpperCase();
  if (kind !== "LORA" && kind !== "IA3") {
    throw new AdapterError({
      code: "adapter-unsupported",
      what: `peft_type is ${JSON.stringify(raw.peft_type)}; expected "LORA" or "IA3".`,
      where,
      fix: "Use a LoRA or (IA)3 adapter, or merge this one into its base with PEFT and use the result as a base.",
    });
  }
  const { problems, warnings } = judgedKeys(raw, kind === "LORA" ? loraSchema : ia3Schema, where);
  if (problems.length > 0) throw new AdapterError(joined(problems, where));
  const config = kind === "LORA" ? loraConfig(raw, where) : ia3Config(raw, where);
  return { config, warnings: [...warnings, ...taskNotes(config)] };
}

/** MLX's adapter_config.json has the same name as PEFT's and different fields. */
function refuseMlx(raw: Record<string, unknown>, where: string): void {
  if (raw.peft_type !== undefined || !["lora_parameters", "fine_tune_type", "lora_layers"].some((key) => key in raw)) return;
  const { fine_tune_type: type = "lora" } = raw;
  const convert =
    "Convert it in Python: for each module, save its lora_a transposed as base_model.model.<module>.lora_A.weight and lora_b transposed as " +
    "base_model.model.<module>.lora_B.weight in adapter_model.safetensors, and write PEFT's adapter_config.json with r = rank and lora_alpha = scale * rank.";
  const fuse = "Fuse it with its base (mlx_lm.fuse, with de-quantization where the base is quantized) and use the result as a base.";
  throw new AdapterError({
    code: "adapter-foreign",
    data: { kind: "MLX" },
    what: `This is an adapter of MLX (fine_tune_type ${JSON.stringify(type)}): its tensors are lora_a [in, rank] and lora_b [rank, out] in adapters.safetensors.`,
    where,
    fix: type === "lora" ? `${convert} Or fuse it with its base (mlx_lm.fuse) and use the result as a base.` : fuse,
  });
}

/** Tasks of models whose head is not a language model's. */
const OTHER_TASKS = new Set(["SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS"]);

function taskNotes({ taskType }: PeftConfig): string[] {
  if (!taskType || !OTHER_TASKS.has(taskType)) return [];
  return [`task_type is ${taskType}: it was trained under another head than the language model's, which is used here.`];
}

function parseObject(text: string, where: string): Record<string, unknown> {
  try {
    return z.record(z.string(), z.unknown()).parse(JSON.parse(text));
  } catch (cause) {
    throw new AdapterError({
      code: "adapter-bad-config",
      what: "adapter_config.json is not a JSON object.",
      where,
      fix: "Download or save the adapter again.",
      cause,
    });
  }
}

type Refusal = Pick<Problem, "what" | "where" | "fix">;

function judgedKeys(raw: Record<string, unknown>, schema: z.ZodObject, where: string): { problems: Refusal[]; warnings: string[] } {
  const problems: Refusal[] = [];
  const warnings: string[] = [];
  for (const [key, value] of Object.entries(raw)) {
    if (key in schema.shape || WITHOUT_EFFECT.has(key) || OTHER_KEYS.has(key)) continue;
    const refused = REFUSED[key];
    if (isOff(value)) {
      if (refused === undefined) warnings.push(`adapter_config.json: unknown key "${key}" is off, ignored.`);
    } else {
      const what = `${key} is ${JSON.stringify(value)?.slice(0, 200)}, which ${refused ? "is not supported" : "is unknown here and may change the result"}.`;
      problems.push({
        what,
        where,
        fix: refused ?? "Remove the key if you are sure that it changes nothing, or merge the adapter with PEFT.",
      });
    }
  }
  if (!isOff(raw.bias) && raw.bias !== "none") {
    const what = `bias is ${JSON.stringify(raw.bias)}; only "none" is supported.`;
    problems.push({ what, where, fix: "The adapter trained the base's biases: train again with bias: none, or merge it with PEFT." });
  }
  if (!PLAIN_INITIALIZATIONS.includes(raw.init_lora_weights)) {
    const what = `init_lora_weights is ${JSON.stringify(raw.init_lora_weights)}: that initialization changes the base's weights.`;
    problems.push({
      what,
      where,
      fix: "Convert the adapter to plain LoRA (PEFT: save_pretrained with path_initial_model_for_weight_conversion).",
    });
  }
  return { problems, warnings };
}

/** null, false, "", [] and {} mean "not used". */
function isOff(value: unknown): boolean {
  if (value === null || value === undefined || value === false || value === "") return true;
  return typeof value === "object" && Object.keys(value).length === 0;
}

function joined(problems: readonly Refusal[], where: string) {
  const [first] = problems;
  const code = "adapter-unsupported" as const;
  if (problems.length === 1 && first) return { code, ...first };
  return { code, what: problems.map(({ what }) => what).join(" "), where, fix: problems.map(({ fix }) => fix).join(" ") };
}

function parsed<S extends z.ZodType>(schema: S, raw: unknown, where: string): z.output<S> {
  const result = schema.safeParse(raw);
  if (result.success) return result.data;
  throw new AdapterError({
    code: "adapter-bad-config",
    what: z.prettifyError(result.error),
    where,
    fix: "Mend adapter_config.json, or save the adapter again with PEFT.",
  });
}

function commonConfig(raw: z.output<typeof loraSchema> | z.output<typeof ia3Schema>): CommonConfig {
  return {
    baseName: raw.base_model_name_or_path || undefined,
    taskType: raw.task_type ?? undefined,
    targetModules: raw.target_modules ?? undefined,
    excludeModules: isOff(raw.exclude_modules) ? undefined : (raw.exclude_modules ?? undefined),
    fanInFanOut: raw.fan_in_fan_out ?? false,
  };
}

function loraConfig(value: unknown, where: string): LoraConfig {
  const raw = parsed(loraSchema, value, where);
  const layers = raw.layers_to_transform ?? [];
  const layersToTransform = typeof layers === "number" ? [layers] : layers;
  if (layersToTransform.length > 0 && typeof raw.target_modules === "string") {
    const what = "layers_to_transform goes with a list of target_modules; here target_modules is a pattern.";
    throw new AdapterError({ code: "adapter-bad-config", what, where, fix: "Put the layer numbers in the pattern, or list the modules." });
  }
  const pattern = raw.layers_pattern || [];
  return {
    ...commonConfig(raw),
    kind: "lora",
    rank: raw.r,
    alpha: raw.lora_alpha,
    rslora: raw.use_rslora ?? false,
    dropout: raw.lora_dropout,
    rankPattern: raw.rank_pattern ?? {},
    alphaPattern: raw.alpha_pattern ?? {},
    layersToTransform: layersToTransform.length > 0 ? layersToTransform : undefined,
    layersPattern: typeof pattern === "string" ? [pattern] : pattern,
    loraBias: raw.lora_bias ?? false,
    tiesAdapters: raw.ensure_weight_tying ?? false,
  };
}

function ia3Config(value: unknown, where: string): Ia3Config {
  const raw = parsed(ia3Schema, value, where);
  return { ...commonConfig(raw), kind: "ia3", feedforwardModules: raw.feedforward_modules ?? [] };
}
