/** @file A PEFT adapter from the contents of its two files, adapter_config.json and adapter_model.safetensors.
 *
 *  There are three steps, so that a check can stop early: open (names and configuration, no numbers), fit (every tensor belongs to a
 *  module of the base, every module that the configuration covers has its tensors, and all shapes agree), read. */

import { AdapterError, invariant } from "../base/errors.ts";
import { fileIn } from "../base/paths.ts";
import { elements, type HostTensor, withShape } from "../base/tensor.ts";
import { parseSafetensors } from "../checkpoint/safetensors-bytes.ts";
import type { Header, TensorInfo } from "../checkpoint/safetensors-header.ts";
import type { Ia3Adapter, Ia3Weights, LoraAdapter, LoraWeights } from "./adapter.ts";
import { CONFIG_FILE, TENSOR_FILE } from "./file-names.ts";
import { type ModuleSize, type ModuleSizes, NO_CHANGE } from "./modules.ts";
import { type LoraConfig, parsePeftConfig } from "./peft-config.ts";
import { type Fitted, fittedModules, halfPair, type OpenedAdapter } from "./peft-fit.ts";
import { isEmbeddingTensor, sortedTensors } from "./peft-tensors.ts";
import { BASE_FINGERPRINT, checkFingerprint, float32Of, type ReadTensor } from "./tensor-file.ts";

type Read = (info: TensorInfo) => HostTensor<"float32">;

/** The two files of a PEFT adapter. */
export interface AdapterFiles {
  /** The text of adapter_config.json. */
  readonly config: string;
  /** The bytes of adapter_model.safetensors. */
  readonly tensors: Uint8Array;
}

/** The adapter in these files, for a base model with these modules. `directory` is the files' folder in messages. */
export async function parseAdapter(
  { config, tensors }: AdapterFiles,
  modules: ModuleSizes,
  { directory = "the adapter", fingerprint, readBase }: { directory?: string; fingerprint?: string; readBase?: ReadTensor } = {},
): Promise<LoraAdapter | Ia3Adapter> {
  const { read, ...header } = parseSafetensors(tensors, fileIn(directory, TENSOR_FILE));
  const own = new Set(header.tensors.values());
  const opened = openedAdapter({ directory, config, ...header });
  checkFingerprint("The adapter was", directory, opened.baseFingerprint, fingerprint);
  return adapterOf(opened, modules, async (info) => {
    if (own.has(info)) return read(info);
    if (readBase) return readBase(info);
    throw new AdapterError({
      code: "adapter-needs-base",
      data: { tensor: info.name },
      what: `The adapter holds a whole tensor of the base model, and "${info.name}" of the base cannot be read to compare them.`,
      where: directory,
      fix: "Pass readBase, or save the adapter without its base's tensors.",
    });
  });
}

/** Reads an adapter's configuration and the header of its tensor file. */
export function openedAdapter({
  directory,
  config: text,
  tensors,
  metadata,
}: { directory: string; config: string } & Header): OpenedAdapter {
  const { config, warnings } = parsePeftConfig(text, fileIn(directory, CONFIG_FILE));
  const sorted = sortedTensors(tensors, fileIn(directory, TENSOR_FILE));
  const recorded = metadata[BASE_FINGERPRINT];
  const notes = [...sorted.frozen.values()].map(
    ({ name }) => `"${name}" is a frozen tensor of the base model saved beside the adapter: ignored.`,
  );
  return { ...sorted, directory, config, ...(recorded && { baseFingerprint: recorded }), warnings: [...warnings, ...notes] };
}

/** Module sizes from the adapter's own tensors, by its own module names, for a check without a base. */
export function ownSizes({ modules, directory }: OpenedAdapter): ModuleSizes {
  const sizes = new Map<string, ModuleSize>();
  for (const [path, { a, b, scale }] of modules) {
    if (a && b) sizes.set(path, { in: a.shape[1] ?? 0, out: b.shape[0] ?? 0, ...(isEmbeddingTensor(a) && { embedding: true }) });
    else if (scale) sizes.set(path, { in: scale.shape[1] ?? 0, out: scale.shape[0] ?? 0 });
    else throw halfPair(path, directory);
  }
  return sizes;
}

/** Matches an opened adapter to a base and reads its numbers. */
export async function adapterOf(opened: OpenedAdapter, modules: ModuleSizes, readTensor: ReadTensor): Promise<LoraAdapter | Ia3Adapter> {
  const { config, directory } = opened;
  const { fitted, warnings, change } = await fittedModules(opened, modules, readTensor);
  const file = fileIn(directory, TENSOR_FILE);
  const numbers = new Map<string, HostTensor>();
  for (const info of [...opened.modules.values()].flatMap((tensors) => Object.values(tensors)))
    numbers.set(info.name, await readTensor(info));
  const read = ({ name }: TensorInfo) => float32Of(name, numbers.get(name)!, file);
  if (config.kind === "ia3") {
    return { kind: "ia3", modules: new Map(fitted.map((fit) => [fit.module, ia3Weights(fit, read)])), config, warnings };
  }
  const kept: LoraConfig = change !== NO_CHANGE ? { ...config, ...pathTargets(fitted.map(({ module }) => module)) } : config;
  return { kind: "lora", modules: new Map(fitted.map((fit) => [fit.module, loraWeights(fit, read)])), config: kept, warnings };
}

/** A configuration's targets in the base's names, for an adapter with other names. */
function pathTargets(modules: readonly string[]): Partial<LoraConfig> {
  return {
    targetModules: modules,
    excludeModules: undefined,
    layersToTransform: undefined,
    layersPattern: [],
    rankPattern: {},
    alphaPattern: {},
  };
}

function loraWeights(fit: Fitted, read: Read): LoraWeights {
  invariant(fit.kind === "lora", "a LoRA configuration fits LoRA tensors");
  const { rank, scaling, embedding } = fit;
  const weights = { rank, scaling, a: read(fit.a), b: read(fit.b), ...(embedding && { embedding }) };
  return fit.bias ? { ...weights, bias: read(fit.bias) } : weights;
}

function ia3Weights(fit: Fitted, read: Read): Ia3Weights {
  invariant(fit.kind === "ia3", "an (IA)3 configuration fits (IA)3 tensors");
  const scale = read(fit.scale);
  return { scale: withShape(scale, [elements(scale.shape)]), feedforward: fit.feedforward };
}
