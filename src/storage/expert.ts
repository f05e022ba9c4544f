/** @file An expert on disk: an adapter folder that also holds the gates of PHATGOOSE (adapters/gate-file.ts) and the statistics of two
 *  other routers (side-files.ts), if they were gathered. */

import { readFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import type { Expert, Gates } from "../adapters/expert.ts";
import { GATE_CONFIG_FILE, GATE_FILE } from "../adapters/file-names.ts";
import { type FoundGates, type GateRecord, gateFiles, parseGates } from "../adapters/gate-file.ts";
import type { ModuleSizes } from "../adapters/modules.ts";
import { checkFingerprint } from "../adapters/tensor-file.ts";
import { AdapterError } from "../base/errors.ts";
import { writeFileAtomically } from "../checkpoint/atomic.ts";
import { readSafetensors, writeSafetensors } from "../checkpoint/safetensors.ts";
import { isBottleneckFolder } from "./bottleneck.ts";
import { exists } from "./files.ts";
import { loadAdapter, openAdapter } from "./peft.ts";
import { readSideFiles } from "./side-files.ts";

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
  const folder = (await isBottleneckFolder(directory)) ? directory : (await openAdapter(directory)).directory;
  const adapter = await loadAdapter(folder, modules, options);
  const name = options.name ?? basename(resolve(directory));
  const found = await readGates(folder, new Set(adapter.modules.keys()), modules);
  const { warnings: notes, ...side } = await readSideFiles(folder, new Set(adapter.modules.keys()), modules);
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
export async function readGates(directory: string, covered: ReadonlySet<string>, modules: ModuleSizes): Promise<FoundGates | undefined> {
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
  const contents = { config: await readFile(configFile, "utf8"), tensors: await readSafetensors(file), configFile, file };
  return parseGates(contents, covered, modules);
}

/** Writes gates (one [in] vector per module) beside the adapter in `directory`, each file atomically.
 *  @throws CheckpointError where the folder cannot be written. */
export async function saveGates(directory: string, gates: Gates, record: GateRecord = {}): Promise<void> {
  const { config, tensors } = gateFiles(gates, record);
  await writeSafetensors(join(directory, GATE_FILE), tensors);
  await writeFileAtomically(join(directory, GATE_CONFIG_FILE), config);
}
