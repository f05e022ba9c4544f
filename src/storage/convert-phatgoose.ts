/** @file Converts the authors' published checkpoints (adapters/phatgoose-state.ts) to a pool of PEFT experts, or to one adapter.
 *
 *  Experts are read and written one after another, so that only one is in memory. Each is written under a temporary name and
 *  renamed; pool.json is written last. Until then conversion.json records the source and options, and the same call continues. */

import { readFile, rename, rm, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import type { LoraAdapter, LoraWeights } from "../adapters/adapter.ts";
import type { Gates } from "../adapters/expert.ts";
import type { ModuleSizes } from "../adapters/modules.ts";
import { phatgooseNames } from "../adapters/phatgoose-names.ts";
import { checkAgainstBase, type Named, type PhatgooseState, phatgooseState, type StateExpert } from "../adapters/phatgoose-state.ts";
import { checkExpertName, type PoolBase } from "../adapters/pool-file.ts";
import { float32Of } from "../adapters/tensor-file.ts";
import { AdapterError, CheckpointError, OptionError, PoolError } from "../base/errors.ts";
import type { HostTensor } from "../base/tensor.ts";
import { checkFolder, makeFolder, writeFileAtomically, writing } from "../checkpoint/atomic.ts";
import { decode } from "../checkpoint/dtypes.ts";
import { tensorBytes, transposedView } from "../pickle/read-tensor.ts";
import { openTorchFile, type TorchFile } from "../pickle/torch-file.ts";
import { saveGates } from "./expert.ts";
import { exists } from "./files.ts";
import { saveAdapter } from "./peft-save.ts";
import { createPool, refusePool } from "./pool.ts";
import { saveActivations } from "./side-files.ts";

/** The kind of router vectors. */
export type StateVectors = "gates" | "activations";

const RECORD = "conversion.json";

export interface ConvertOptions {
  /** The base model, if available. Every module is checked against it before anything is written, and the pool records it. */
  readonly base?: PoolBase & { readonly modules: ModuleSizes };
  /** One name for each expert, in order. Default: the authors' names if the number of experts is that of a published pool, else expert-0,
   *  expert-1, ... */
  readonly names?: readonly string[];
  readonly onExpert?: (done: number, total: number, name: string) => void;
}

export interface ConvertedPool {
  readonly pool: string;
  readonly experts: readonly string[];
  /** The number of experts that an earlier call had finished. */
  readonly kept: number;
  readonly modules: number;
  readonly warnings: readonly string[];
}

/** Converts the checkpoint `source` to the pool `out`. */
export async function convertPhatgoose(
  source: string,
  out: string,
  vectors: StateVectors,
  options: ConvertOptions = {},
): Promise<ConvertedPool> {
  await refusePool(out);
  await checkFolder(out);
  using torch = openTorchFile(source);
  const state = stateOf(torch, options);
  const warnings = [...state.warnings];
  const names = expertNames(state, options.names, warnings);
  if (!state.hasVectors) warnings.push(`The experts have no router vectors: they are written without ${vectors}.`);
  if (!options.base)
    warnings.push("The base model was not given: its fingerprint is not recorded, and that the experts fit it was not checked.");
  const base = options.base ? { name: options.base.name, fingerprint: options.base.fingerprint } : assumedBase(state);
  await checkRecord(out, await recordOf(source, { vectors, names, base }));
  let kept = 0;
  let isSilent = state.hasVectors;
  for (const [index, expert] of state.experts.entries()) {
    const name = names[index]!;
    if (await exists(join(out, "experts", name))) {
      kept++;
      isSilent = false;
    } else {
      const written = await writeExpert(torch, expert, join(out, "experts"), { name, vectors, base });
      isSilent &&= [...written.values()].every(({ data }) => data.every((value) => value === 0));
    }
    options.onExpert?.(index + 1, names.length, name);
  }
  if (isSilent)
    warnings.push(`All router vectors are zero${names.length === 1 ? ", as in the authors' Merged Experts" : ""}: nothing to route by.`);
  await createPool(out, base, names);
  await rm(join(out, RECORD), { force: true });
  return { pool: out, experts: names, kept, modules: state.experts[0]?.size ?? 0, warnings };
}

/** Writes the only expert of the checkpoint `source`, the authors' Merged Experts, as an adapter. */
export async function convertMergedExperts(
  source: string,
  out: string,
  { base }: Pick<ConvertOptions, "base"> = {},
): Promise<{ directory: string; modules: number; warnings: readonly string[] }> {
  await checkFolder(out);
  if (await exists(join(out, "adapter_model.safetensors"))) {
    const what = "There is an adapter here already.";
    throw new AdapterError({ code: "adapter-exists", what, where: out, fix: "Choose another folder.", data: { folder: out } });
  }
  using torch = openTorchFile(source);
  const state = stateOf(torch, base ? { base } : {});
  const { experts, warnings } = state;
  const [merged] = experts;
  if (!merged || experts.length > 1) {
    const what = `The file holds ${experts.length} experts, which nobody has merged.`;
    throw new CheckpointError({ code: "torch-names", what, where: source, fix: "Convert it as a pool, and merge its experts then." });
  }
  await saveAdapter(out, adapterOf(torch, merged), savedFor(merged, base ?? assumedBase(state)));
  return { directory: out, modules: merged.size, warnings };
}

function stateOf(torch: TorchFile, { base }: ConvertOptions): PhatgooseState {
  const [other] = torch.others;
  if (other) {
    const what = `"${other[0]}" is ${other[1]}, and no tensor.`;
    throw new CheckpointError({ code: "torch-names", what, where: torch.name, fix: "Give the state_dict alone." });
  }
  const state = phatgooseState(torch.tensors, torch.name);
  if (base) checkAgainstBase(state, base.modules, torch.name);
  return state;
}

/** The base model of both of the authors' pools has 24 blocks and width 2048. */
function assumedBase({ experts }: PhatgooseState): PoolBase {
  const last = experts[0]?.get("decoder.block.23.layer.0.SelfAttention.q");
  return { name: last?.layer1.view.shape[0] === 2048 ? "google/t5-xl-lm-adapt" : "unknown" };
}

function expertNames({ experts }: PhatgooseState, given: readonly string[] | undefined, warnings: string[]): readonly string[] {
  const count = experts.length;
  if (given) {
    const where = "names";
    if (given.length !== count) {
      const what = `${given.length} names for ${count} experts.`;
      const data = { option: where, expected: count, got: given.length };
      throw new OptionError({ code: "option-count", data, what, where, fix: "Give one name for each expert, in order." });
    }
    const twice = given.find((name, i) => given.indexOf(name) !== i);
    if (twice !== undefined) {
      const what = `The name "${twice}" is given twice.`;
      throw new OptionError({
        code: "option-duplicate",
        data: { option: where, got: twice },
        what,
        where,
        fix: "Give each expert its own.",
      });
    }
    for (const name of given) checkExpertName(name, "names");
    return given;
  }
  const published = phatgooseNames(count);
  if (published) return published;
  warnings.push(`None of the authors' pools has ${count} experts: they are called expert-0 to expert-${count - 1}.`);
  return experts.map((_, index) => `expert-${index}`);
}

interface Written {
  readonly name: string;
  readonly vectors: StateVectors;
  readonly base: PoolBase;
}

/** Writes one expert atomically and returns its router vectors. */
async function writeExpert(torch: TorchFile, expert: StateExpert, folder: string, { name, vectors, base }: Written): Promise<Gates> {
  const partial = join(folder, `.${name}.partial`);
  await rm(partial, { recursive: true, force: true });
  await makeFolder(partial);
  await saveAdapter(partial, adapterOf(torch, expert), savedFor(expert, base));
  const found = new Map<string, HostTensor<"float32">>();
  for (const [module, { vector }] of expert) if (vector) found.set(module, numbersOf(torch, vector));
  const record = { ...(base.fingerprint && { baseFingerprint: base.fingerprint }), training: { converted_from: basename(torch.name) } };
  if (found.size > 0 && vectors === "gates") await saveGates(partial, found, record);
  if (found.size > 0 && vectors === "activations") await saveActivations(partial, found, { converted_from: basename(torch.name) });
  const target = join(folder, name);
  await writing(target, () => rename(partial, target));
  return found;
}

function adapterOf(torch: TorchFile, expert: StateExpert): LoraAdapter {
  const modules = new Map<string, LoraWeights>();
  for (const [module, { layer1, layer2 }] of expert) {
    const rank = layer2.view.shape[0]!;
    const [a, b] = [layer1, layer2].map(({ name, view }) => numbersOf(torch, { name, view: transposedView(view) }));
    modules.set(module, { rank, scaling: 1 / rank, a: a!, b: b! });
  }
  return { kind: "lora", modules, warnings: [] };
}

function savedFor(expert: StateExpert, base: PoolBase) {
  const isEncoderDecoder = [...expert.keys()].some((module) => module.startsWith("encoder."));
  return {
    baseName: base.name,
    ...(base.fingerprint && { baseFingerprint: base.fingerprint }),
    taskType: isEncoderDecoder ? "SEQ_2_SEQ_LM" : "CAUSAL_LM",
  };
}

function numbersOf(torch: TorchFile, { name, view }: Named): HostTensor<"float32"> {
  const { dtype, shape } = view;
  const decoded = decode(dtype, tensorBytes(torch, name, view).buffer);
  if (decoded) return float32Of(name, { ...decoded, shape }, torch.name);
  const what = `Tensor "${name}" is ${dtype}; expected a float.`;
  throw new CheckpointError({
    code: "checkpoint-dtype",
    data: { tensor: name, dtype },
    what,
    where: torch.name,
    fix: "Save it as float32.",
  });
}

/** The record of an unfinished pool's source and options. */
async function recordOf(source: string, made: Omit<Written, "name"> & { readonly names: readonly string[] }): Promise<string> {
  const { size, mtimeMs } = await stat(source);
  return `${JSON.stringify({ source: basename(source), bytes: size, modified: mtimeMs, ...made }, null, 2)}\n`;
}

async function checkRecord(out: string, record: string): Promise<void> {
  const path = join(out, RECORD);
  const found = await readFile(path, "utf8").catch(() => undefined); // absent: the conversion starts
  if (found === record) return;
  if (found !== undefined || (await exists(join(out, "experts")))) {
    const what =
      found === undefined
        ? "There are experts here already."
        : "There is an unfinished conversion here, of another file or with other options.";
    const fix = "Finish that one with the options it was begun with, or choose another folder.";
    throw new PoolError({ code: "pool-exists", what, where: out, fix, data: { pool: out } });
  }
  await writeFileAtomically(path, record);
}
