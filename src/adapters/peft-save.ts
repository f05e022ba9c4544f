/** @file Writes the files of a PEFT adapter, adapter_config.json and adapter_model.safetensors, for Python's PeftModel.from_pretrained.
 *
 *  Ranks and scalings of single modules are in rank_pattern and alpha_pattern under the module's whole path. Each module is in both
 *  tables, so that older PEFT (which uses one key for both) and newer PEFT (which looks them up separately) agree. */

import type { HostTensor } from "../base/tensor.ts";
import type { Ia3Adapter, LoraAdapter } from "./adapter.ts";
import { CONFIG_FILE } from "./file-names.ts";
import { loraScales } from "./peft-targets.ts";
import { BASE_FINGERPRINT } from "./tensor-file.ts";

/** What `saveAdapter` records beside the weights. */
export interface SaveOptions {
  /** Name or path of the base model to record. Default: the one in the adapter's configuration. */
  readonly baseName?: string;
  /** The base model's fingerprint, stored in the tensor file's metadata. It distinguishes bases with the same shapes. */
  readonly baseFingerprint?: string;
  /** "CAUSAL_LM", "SEQ_2_SEQ_LM"... as PEFT names them. */
  readonly taskType?: string;
  /** Names to record; default: those in the adapter's configuration, else the whole paths. */
  readonly targetModules?: string | readonly string[];
  /** True when the base stores its weights [in, out] (GPT-2's Conv1D). */
  readonly fanInFanOut?: boolean;
  readonly dropout?: number;
}

/** The contents of a PEFT adapter's files: the configuration's text, and the tensors with their metadata. */
export function peftFiles(
  adapter: LoraAdapter | Ia3Adapter,
  options: SaveOptions,
): { config: string; tensors: Map<string, HostTensor>; metadata: Record<string, string> } {
  const config = { ...commonKeys(adapter, options), ...(adapter.kind === "lora" ? loraKeys(adapter, options) : ia3Keys(adapter)) };
  const sorted = Object.fromEntries(Object.entries(config).sort(([p], [q]) => (p < q ? -1 : 1)));
  const { baseFingerprint } = options;
  const metadata = { format: "pt", ...(baseFingerprint && { [BASE_FINGERPRINT]: baseFingerprint }) }; // PEFT ignores unknown keys
  return { config: `${JSON.stringify(sorted, null, 2)}\n`, tensors: savedTensors(adapter), metadata };
}

function savedTensors(adapter: LoraAdapter | Ia3Adapter): Map<string, HostTensor> {
  const tensors = new Map<string, HostTensor>();
  if (adapter.kind === "lora") {
    for (const [module, { a, b, bias, embedding }] of adapter.modules) {
      const name = (factor: "A" | "B") => (embedding ? `lora_embedding_${factor}` : `lora_${factor}.weight`);
      tensors.set(`base_model.model.${module}.${name("A")}`, a);
      tensors.set(`base_model.model.${module}.${name("B")}`, b);
      if (bias) tensors.set(`base_model.model.${module}.lora_B.bias`, bias);
    }
  } else {
    for (const [module, { scale, feedforward }] of adapter.modules) {
      const shape = feedforward ? [1, scale.data.length] : [scale.data.length, 1];
      tensors.set(`base_model.model.${module}.ia3_l`, { ...scale, shape });
    }
  }
  return tensors;
}

function commonKeys({ config, modules }: LoraAdapter | Ia3Adapter, options: SaveOptions): Record<string, unknown> {
  return {
    auto_mapping: null,
    base_model_name_or_path: options.baseName ?? config?.baseName ?? null,
    exclude_modules: options.targetModules === undefined ? (config?.excludeModules ?? null) : null,
    fan_in_fan_out: options.fanInFanOut ?? config?.fanInFanOut ?? false,
    inference_mode: true,
    modules_to_save: null,
    revision: null,
    target_modules: options.targetModules ?? config?.targetModules ?? [...modules.keys()],
    task_type: options.taskType ?? config?.taskType ?? null,
  };
}

function ia3Keys({ modules }: Ia3Adapter): Record<string, unknown> {
  return {
    peft_type: "IA3",
    feedforward_modules: [...modules].filter(([, { feedforward }]) => feedforward).map(([module]) => module),
    init_ia3_weights: true,
  };
}

function loraKeys(adapter: LoraAdapter, options: SaveOptions): Record<string, unknown> {
  const { config, modules } = adapter;
  const layers = options.targetModules === undefined ? config?.layersToTransform : undefined;
  return {
    peft_type: "LORA",
    bias: "none",
    init_lora_weights: true,
    layer_replication: null,
    layers_pattern: layers && config && config.layersPattern.length > 0 ? config.layersPattern : null,
    layers_to_transform: layers ?? null,
    loftq_config: {},
    lora_bias: [...modules.values()].some(({ bias }) => bias !== undefined),
    lora_dropout: options.dropout ?? config?.dropout ?? 0,
    megatron_config: null,
    megatron_core: "megatron.core",
    use_dora: false,
    ...(keptScales(adapter) ?? derivedScales(adapter)),
  };
}

/** The rank and scale keys of the adapter's configuration, if they still describe its modules. */
function keptScales({ config, modules }: LoraAdapter): Record<string, unknown> | undefined {
  if (!config) return undefined;
  const scales = loraScales(config, CONFIG_FILE);
  for (const [module, { rank, scaling }] of modules) {
    const told = scales(module);
    if (told.rank !== rank || Math.abs(told.scaling - scaling) > 1e-9 * Math.abs(scaling)) return undefined;
  }
  const { rank, alpha, rslora, rankPattern, alphaPattern } = config;
  return { r: rank, lora_alpha: alpha, use_rslora: rslora, rank_pattern: rankPattern, alpha_pattern: alphaPattern };
}

/** The most common rank and alpha, with patterns for the modules that differ. */
function derivedScales({ modules }: LoraAdapter): Record<string, unknown> {
  const scales = [...modules].map(([module, { rank, scaling }]) => ({ module, rank, alpha: rank * scaling }));
  const [r, lora_alpha] = mostCommon(scales.map(({ rank, alpha }) => [rank, alpha] as const));
  const others = scales.filter(({ rank, alpha }) => rank !== r || alpha !== lora_alpha);
  return {
    r,
    lora_alpha,
    use_rslora: false,
    rank_pattern: Object.fromEntries(others.map(({ module, rank }) => [module, rank])),
    alpha_pattern: Object.fromEntries(others.map(({ module, alpha }) => [module, alpha])),
  };
}

function mostCommon(pairs: readonly (readonly [number, number])[]): readonly [number, number] {
  const counts = new Map<string, { pair: readonly [number, number]; count: number }>();
  for (const pair of pairs) {
    const entry = counts.get(pair.join()) ?? { pair, count: 0 };
    counts.set(pair.join(), { pair, count: entry.count + 1 });
  }
  return [...counts.values()].reduce((best, entry) => (entry.count > best.count ? entry : best)).pair;
}
