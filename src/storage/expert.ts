/** @file An expert on disk: an adapter folder that also holds the gates of PHATGOOSE (adapters/gate-file.ts) and the statistics of two
 *  other routers (side-files.ts), if they were gathered. */

import { basename, join, resolve } from "node:path";
import type { Expert, Gates } from "../adapters/expert.ts";
import { GATE_CONFIG_FILE, GATE_FILE } from "../adapters/file-names.ts";
import { type FoundGates, type GateRecord, gateFiles, parseGates } from "../adapters/gate-file.ts";
import type { ModuleSizes } from "../adapters/modules.ts";
import { checkFingerprint } from "../adapters/tensor-file.ts";
import { AdapterError } from "../base/errors.ts";
import type { HostTensor } from "../base/tensor.ts";
import { writeFileAtomically } from "../checkpoint/atomic.ts";
import { writeSafetensors } from "../checkpoint/safetensors.ts";
import { isBottleneckFolder } from "./bottleneck.ts";
import { exists, readText } from "./files.ts";
import { adapterFolder, adapterFrom } from "./peft.ts";
import { readSideFiles } from "./side-files.ts";
import { intoMemory, type OpenTensors } from "./tensor-source.ts";

/** What an expert is called, and which base it must belong to. */
export interface LoadExpertOptions {
  /** Default: the folder's name. */
  readonly name?: string;
  /** Fingerprint of the base model. An expert that records another one is refused. */
  readonly fingerprint?: string;
}

/** Reads an adapter folder and the gates beside it, if there are any.
 *  @throws AdapterError for an adapter, gates or statistics that do not fit the modules or the fingerprint. */
export async function loadExpert(directory: string, modules: ModuleSizes, options: LoadExpertOptions = {}): Promise<Expert> {
  return expertFrom(intoMemory, directory, modules, options);
}

/** The same, with the files of the adapter and its gates opened by `open`. */
export async function expertFrom(open: OpenTensors, directory: string, modules: ModuleSizes, options: LoadExpertOptions): Promise<Expert> {
  const folder = (await isBottleneckFolder(directory)) ? directory : await adapterFolder(directory);
  const adapter = await adapterFrom(open, folder, modules, options);
  const name = options.name ?? basename(resolve(directory));
  const covered = new Set(adapter.modules.keys());
  const found = await readGates(folder, covered, modules, open);
  const { warnings: notes, ...side } = await readSideFiles(folder, covered, modules);
  if (!found) return { name, adapter, ...side, warnings: [...adapter.warnings, ...notes] };
  const { gates, baseFingerprint, warnings } = found;
  checkFingerprint(`The gates of expert "${name}" were`, join(folder, GATE_CONFIG_FILE), baseFingerprint, options.fingerprint);
  return {
    name,
    adapter,
    gates,
    ...side,
    ...(baseFingerprint && { baseFingerprint }),
    warnings: [...adapter.warnings, ...warnings, ...notes],
  };
}

/** Reads the gates in a folder and checks them against the adapter's modules; undefined when there are none. */
export async function readGates(
  directory: string,
  covered: ReadonlySet<string>,
  modules: ModuleSizes,
  open: OpenTensors = intoMemory,
): Promise<FoundGates | undefined> {
  const [configFile, file] = [join(directory, GATE_CONFIG_FILE), join(directory, GATE_FILE)];
  const [hasConfig, hasTensors] = [await exists(configFile), await exists(file)];
  if (!hasConfig && !hasTensors) return undefined;
  if (!hasConfig || !hasTensors) {
    const missing = hasConfig ? GATE_FILE : GATE_CONFIG_FILE;
    throw new AdapterError({
      code: "gates-incomplete",
      what: `Half of the gates is there: ${missing} is missing.`,
      where: directory,
      fix: "Copy both gate files, or remove both.",
    });
  }
  const { tensors: infos, read } = await open(file);
  const tensors = new Map<string, HostTensor>();
  for (const [name, info] of infos) tensors.set(name, await read(info));
  return parseGates({ config: await readText(configFile), tensors, configFile, file }, covered, modules);
}

/** Writes gates (one [in] vector per module) beside the adapter in `directory`, each file atomically.
 *  @throws CheckpointError where the folder cannot be written. */
export async function saveGates(directory: string, gates: Gates, record: GateRecord = {}): Promise<void> {
  const { config, tensors } = gateFiles(gates, record);
  await writeSafetensors(join(directory, GATE_FILE), tensors);
  await writeFileAtomically(join(directory, GATE_CONFIG_FILE), config);
}
