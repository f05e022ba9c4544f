/** @file A loaded base model, shared by everything that computes with it. A base holds no session and no
 *  expert. It does not read weights: graphs refer to the checkpoint's files. */

import { totalmem } from "node:os";
import type { ModuleSizes } from "../adapters/modules.ts";
import { OptionError } from "../base/errors.ts";
import { elements } from "../base/tensor.ts";
import { type Checkpoint, openCheckpoint } from "../checkpoint/checkpoint.ts";
import { fingerprint } from "../checkpoint/fingerprint.ts";
import type { PackedWeights } from "../checkpoint/packed-layout.ts";
import { readTensor, type TensorInfo } from "../checkpoint/safetensors.ts";
import { haveSameBytes } from "../checkpoint/same-bytes.ts";
import type { Graph } from "../graph/value.ts";
import { resolveModel } from "../hub/resolve-model.ts";
import type { Architecture } from "../models/architecture.ts";
import { checkpointNotes } from "../models/checkpoint-notes.ts";
import { baseSeams, type Seams } from "../models/embedding.ts";
import type { Weights } from "../models/linear.ts";
import { tracedModules } from "../models/logits.ts";
import { architectureOf } from "../models/registry.ts";
import { fileWeights } from "../models/weights.ts";
import { type Precision, packedPlan, quantizationPlan, type Scheme } from "../quantization/scheme.ts";
import { quantizedSeams } from "../quantization/seams.ts";
import { openStore, type QuantizedStore } from "../quantization/store.ts";
import { engineFor } from "../runtime/device.ts";
import type { Device, Engine } from "../runtime/engine.ts";
import { standardEngine } from "../runtime/session.ts";
import { loadTokenizer } from "../text/load-tokenizer.ts";
import type { Tokenizer } from "../text/tokenizer.ts";

/** What an architecture needs to build its equations in a graph. */
export interface GraphParts extends Seams {
  readonly weights: Weights;
}

/** What is loaded once and shared by all models on it: checkpoint, architecture, modules, tokenizer and fingerprint. */
export interface Base {
  readonly checkpoint: Checkpoint;
  readonly architecture: Architecture;
  /** Every projection and embedding table: module path -> sizes. */
  readonly modules: ModuleSizes;
  /** How the base's projections and embeddings are stored and multiplied. */
  readonly precision: Precision;
  /** The engine that computes this base, unless a runner names another. */
  readonly engine: Engine;
  /** Warnings about its configuration and about tensors that are not read. */
  readonly warnings: readonly string[];
  /** The tokenizer of the checkpoint. It is read at the first call. */
  tokenizer(): Promise<Tokenizer>;
  /** Identifies the numbers of the checkpoint. It is computed at the first call. */
  fingerprint(): Promise<string>;
  /** The base's weights, projections and embeddings for a graph. Nothing else reads the weights of a base. */
  seams(graph: Graph): GraphParts;
  /** Prepares gradients through this base: it stores a transposed copy of int8 weights. Without it, gradients are correct but slower. */
  forTraining(): Promise<void>;
}

/** How a base is opened. */
export interface BaseOptions {
  /** "auto" means float32 if the weights fit into a quarter of the memory, else int8. Default float32. Weights that come in four bits
   *  (GPTQ, AWQ) stay so. */
  readonly precision?: Precision | "auto" | undefined;
  /** The hardware that computes. "auto" means the fastest that a short measurement finds (runtime/device.ts). Default: the device that the
   *  environment variable SKEIN_DEVICE names, else the CPU. */
  readonly device?: Device | "auto" | undefined;
  /** The engine itself, in place of a device's name. */
  readonly engine?: Engine | undefined;
  /** Called while weights are quantized, with the numbers of weights. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** Opens the base model in a folder, in the Hugging Face cache, or on the Hub. With int8 or int4, the weights are quantized at the first
 *  use and stored on disk (quantization/store.ts).
 *  @throws CheckpointError for a base that is missing, cannot be read or is not supported. */
export async function openBase(
  name: string,
  { precision = "float32", device, engine: given, onProgress }: BaseOptions = {},
): Promise<Base> {
  const checkpoint = await openCheckpoint(await resolveModel(name));
  const warnings = await checkpointNotes(checkpoint, architectureOf(checkpoint), { readTensor, haveSameBytes });
  const engine = given ?? (device === undefined ? standardEngine() : await engineFor(device));
  if (checkpoint.packed) return { ...(await packedBase(checkpoint, checkpoint.packed, { precision, onProgress })), engine, warnings };
  const scheme = precision === "auto" ? fitting(checkpoint) : precision;
  if (scheme === "float16") {
    await checkHalf(checkpoint, engine);
    return { ...baseOf(checkpoint), precision: scheme, engine, warnings };
  }
  if (scheme === "float32") return { ...baseOf(checkpoint), engine, warnings: [...warnings, ...widenedNote(checkpoint)] };
  const plan = quantizationPlan(architectureOf(checkpoint), scheme);
  const options = { scheme, fingerprint: await fingerprint(checkpoint), ...(onProgress && { onProgress }) };
  return { ...baseOf(checkpoint, { precision: scheme, store: await openStore(checkpoint, plan, options) }), engine, warnings };
}

interface PackedOptions {
  readonly precision: BaseOptions["precision"];
  readonly onProgress: BaseOptions["onProgress"];
}

/** A base whose weights come in four bits. They stay as they are; float32 and auto leave the other tensors in float, int4 stores embeddings and
 *  head in 8 bits. */
async function packedBase(checkpoint: Checkpoint, packed: PackedWeights, { precision, onProgress }: PackedOptions): Promise<Base> {
  if (precision === "int8" || precision === "float16") {
    throw new OptionError({
      code: "option-conflict",
      data: { options: ["precision"] },
      what: `This base's weights come in 4 bits, so ${precision} would only make them larger.`,
      where: checkpoint.directory,
      fix: "Leave `precision` out, or use int4, which stores embeddings and head in 8 bits too.",
    });
  }
  const others = precision === "int4" ? "int4" : "float32";
  const plan = packedPlan(architectureOf(checkpoint), packed, others);
  const scheme = others === "int4" ? "packed-int4" : "packed";
  const store = await openStore(checkpoint, plan, {
    scheme,
    fingerprint: await fingerprint(checkpoint),
    ...(onProgress && { onProgress }),
  });
  return baseOf(checkpoint, { precision: "int4", store });
}

/** Refuses weights and devices that float16 does not fit. */
async function checkHalf({ tensors, directory }: Checkpoint, engine: Engine): Promise<void> {
  const weights = [...tensors.values()].filter(({ shape }) => shape.length === 2);
  if (!weights.some(({ dtype }) => dtype === "F16")) {
    const dtypes = [...new Set(weights.map(({ dtype }) => dtype))].join(" and ");
    throw new OptionError({
      code: "option-conflict",
      data: { options: ["precision"] },
      what: `The base's weights are in ${dtypes}: float16 is for weights that the files have in F16, and would round these.`,
      where: directory,
      fix: "Leave `precision` out, or use int8.",
    });
  }
  if (await engine.hasFloat16()) return;
  throw new OptionError({
    code: "option-conflict",
    data: { options: ["precision", "device"] },
    what: `The device of the engine ${engine.name} does not compute with float16 numbers.`,
    where: directory,
    fix: "Leave `precision` out, use int8, or another device.",
  });
}

function fitting({ tensors }: Checkpoint): Precision {
  return float32Bytes([...tensors.values()]) <= totalmem() / 4 ? "float32" : "int8";
}

const float32Bytes = (tensors: readonly TensorInfo[]) => tensors.reduce((sum, { shape }) => sum + 4 * elements(shape), 0);

const WORTH_SAYING = 1e9; // bytes

/** The cost of weights in 16 bits at float32: the engine widens them into a copy in memory, while it maps weights in float32. */
function widenedNote({ tensors }: Checkpoint): string[] {
  const half = [...tensors.values()].filter(({ dtype }) => dtype === "F16" || dtype === "BF16");
  const bytes = float32Bytes(half);
  if (bytes < WORTH_SAYING) return [];
  const gigabytes = (bytes / 1e9).toFixed(1);
  return [
    `The weights are in ${half[0]!.dtype}; as float32 they take ${gigabytes} GB of memory, and ${(bytes / 4e9).toFixed(1)} GB in int8.`,
  ];
}

/** The base model of a checkpoint whose keys and tensors have been checked; `quantized` holds its weights in fewer bits. */
export function baseOf(checkpoint: Checkpoint, quantized?: { readonly precision: Scheme; readonly store: QuantizedStore }): Base {
  const architecture = architectureOf(checkpoint);
  let backward: ReadonlyMap<string, TensorInfo> | undefined;
  return {
    checkpoint,
    architecture,
    modules: modulesOf(checkpoint, architecture),
    precision: quantized?.precision ?? "float32",
    engine: standardEngine(),
    warnings: [],
    tokenizer: once(() => loadTokenizer(checkpoint.directory)),
    fingerprint: once(() => fingerprint(checkpoint)),
    seams: (graph) => {
      const weights = fileWeights(graph, checkpoint);
      return {
        weights,
        ...(quantized ? quantizedSeams(graph, { weights, stored: quantized.store.tensors, backward }) : baseSeams(weights)),
      };
    },
    forTraining: once(async () => {
      backward = await quantized?.store.openBackward();
    }),
  };
}

/** The modules of the architecture, with their weights in the checkpoint. */
function modulesOf({ tensors }: Checkpoint, architecture: Architecture): ModuleSizes {
  const traced = [...tracedModules(architecture)];
  return new Map(
    traced.map(([module, { tensor = `${module}.weight`, ...size }]) => {
      const weight = tensors.get(tensor);
      return [module, { ...size, ...(weight && { weight }) }];
    }),
  );
}

/** Calls `compute` once and returns its result at every call. After a failure the next call tries again. */
function once<T>(compute: () => Promise<T>): () => Promise<T> {
  let result: Promise<T> | undefined;
  return () => {
    result ??= compute().catch((error: unknown) => {
      result = undefined;
      throw error;
    });
    return result;
  };
}
