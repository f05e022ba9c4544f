/** @file Reading PEFT adapter folders: adapter_config.json + adapter_model.safetensors.
 *
 *  Three steps, so that a check can stop where it wants: open (names and configuration, no numbers), fit (every tensor finds its
 *  module of the base, every module the configuration covers finds its tensors, every shape agrees), read. */

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { AdapterError, invariant } from "../base/errors.ts";
import type { HostTensor } from "../base/tensor.ts";
import { openSafetensors, readTensor, type TensorInfo } from "../checkpoint/safetensors.ts";
import type { Adapter, Ia3Adapter, Ia3Weights, LoraAdapter, LoraWeights } from "./adapter.ts";
import { isBottleneckFolder, loadBottleneck } from "./bottleneck-file.ts";
import { BASE_FINGERPRINT, checkFingerprint, exists, float32Of } from "./files.ts";
import { type ModuleSize, type ModuleSizes, NO_CHANGE } from "./modules.ts";
import { type LoraConfig, parsePeftConfig } from "./peft-config.ts";
import { type Fitted, fittedModules, halfPair, type OpenedAdapter } from "./peft-fit.ts";
import { isEmbeddingTensor, sortedTensors } from "./peft-tensors.ts";

export const CONFIG_FILE = "adapter_config.json";
export const TENSOR_FILE = "adapter_model.safetensors";

type Read = (info: TensorInfo) => HostTensor<"float32">;

export interface LoadAdapterOptions {
  /** Fingerprint of the base model it is loaded for; an adapter that records another one is refused. */
  readonly fingerprint?: string;
}

/** Reads an adapter for a base model of these modules; anything that does not fit is an AdapterError that says what to do. */
export async function loadAdapter(directory: string, modules: ModuleSizes, { fingerprint }: LoadAdapterOptions = {}): Promise<Adapter> {
  if (await isBottleneckFolder(directory)) return loadBottleneck(directory, modules, fingerprint);
  const opened = await openAdapter(directory);
  checkFingerprint("The adapter was", opened.directory, opened.baseFingerprint, fingerprint);
  return readAdapter(opened, modules);
}

/** Opens an adapter folder: reads its configuration and the header of its tensor file. */
export async function openAdapter(directory: string): Promise<OpenedAdapter> {
  const found = await adapterFolder(directory);
  const configFile = join(found, CONFIG_FILE);
  const { config, warnings } = parsePeftConfig(await readFile(configFile, "utf8"), configFile);
  const file = join(found, TENSOR_FILE);
  await refusePickle(found, file);
  const { tensors, metadata } = await openSafetensors(file);
  const sorted = sortedTensors(tensors, file);
  const recorded = metadata[BASE_FINGERPRINT];
  const notes = [...sorted.frozen.values()].map(
    ({ name }) => `"${name}" is a frozen tensor of the base model saved beside the adapter: ignored.`,
  );
  return { ...sorted, directory: found, config, ...(recorded && { baseFingerprint: recorded }), warnings: [...warnings, ...notes] };
}

/** The folder itself when it holds an adapter, else its only subfolder that does (PEFT saves named adapters so). */
async function adapterFolder(directory: string): Promise<string> {
  if (await exists(join(directory, CONFIG_FILE))) return directory;
  const entries = await readdir(directory, { withFileTypes: true }).catch((cause: unknown) => {
    throw new AdapterError({
      code: "adapter-not-found",
      data: { folder: directory },
      what: "There is no such adapter folder.",
      where: directory,
      fix: "Give the folder that holds adapter_config.json.",
      cause,
    });
  });
  const folders = entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(directory, name));
  const holding: string[] = [];
  for (const folder of folders) if (await exists(join(folder, CONFIG_FILE))) holding.push(folder);
  const [only] = holding;
  if (only !== undefined && holding.length === 1) return only;
  throw new AdapterError({
    code: holding.length > 1 ? "adapter-several" : "adapter-not-found",
    data: { folder: directory, known: holding },
    what: holding.length > 1 ? `The folder holds ${holding.length} adapters.` : `The folder holds no ${CONFIG_FILE}.`,
    where: directory,
    fix: holding.length > 1 ? `Name one of them: ${holding.join(", ")}.` : "Give the folder of an adapter saved by Skein or PEFT.",
  });
}

async function refusePickle(directory: string, file: string): Promise<void> {
  if (await exists(file)) return;
  const pickle = join(directory, "adapter_model.bin");
  if (!(await exists(pickle)))
    throw new AdapterError({
      code: "adapter-incomplete",
      what: `${TENSOR_FILE} is missing.`,
      where: directory,
      fix: "Download or save the adapter again.",
    });
  throw new AdapterError({
    code: "adapter-pickled",
    what: "The adapter is a Python pickle, which can run code when it is opened; Skein never reads one.",
    where: pickle,
    fix:
      'Convert it where PyTorch is installed: python -c "import torch, safetensors.torch as s; ' +
      "s.save_file({k: v.contiguous() for k, v in torch.load('adapter_model.bin', weights_only=True).items()}, 'adapter_model.safetensors')\"",
  });
}

/** The sizes an adapter's own tensors speak of, keyed by its own module names: what it can be checked against without a base. */
export function ownSizes({ modules, directory }: OpenedAdapter): ModuleSizes {
  const sizes = new Map<string, ModuleSize>();
  for (const [path, { a, b, scale }] of modules) {
    if (a && b) sizes.set(path, { in: a.shape[1] ?? 0, out: b.shape[0] ?? 0, ...(isEmbeddingTensor(a) && { embedding: true }) });
    else if (scale) sizes.set(path, { in: scale.shape[1] ?? 0, out: scale.shape[0] ?? 0 });
    else throw halfPair(path, directory);
  }
  return sizes;
}

/** Fits an opened adapter to a base and reads its numbers. */
export async function readAdapter(opened: OpenedAdapter, modules: ModuleSizes): Promise<LoraAdapter | Ia3Adapter> {
  const { config, directory } = opened;
  const { fitted, warnings, change } = await fittedModules(opened, modules);
  const file = join(directory, TENSOR_FILE);
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

/** A configuration's targets in the base's names, for an adapter that was read under others. */
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
  const { data } = read(fit.scale);
  return { scale: { dtype: "float32", shape: [data.length], data }, feedforward: fit.feedforward };
}
