/** @file Folders of bottleneck adapters (adapters/bottleneck-file.ts has the format). */

import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { BottleneckAdapter } from "../adapters/adapter.ts";
import { bottleneckFiles, ownBottleneckSizes, parseBottleneck } from "../adapters/bottleneck-file.ts";
import { BOTTLENECK_CONFIG_FILE, BOTTLENECK_FILE } from "../adapters/file-names.ts";
import type { ModuleSizes } from "../adapters/modules.ts";
import { AdapterError } from "../base/errors.ts";
import { makeFolder, writeFileAtomically } from "../checkpoint/atomic.ts";
import { openSafetensors, writeSafetensors } from "../checkpoint/safetensors.ts";
import { exists } from "./files.ts";
import { intoMemory, type OpenTensors } from "./tensor-source.ts";

/** Whether the folder contains a bottleneck adapter. */
export function isBottleneckFolder(directory: string): Promise<boolean> {
  return exists(join(directory, BOTTLENECK_CONFIG_FILE));
}

/** Module sizes from the adapter's own tensors, for a check without a base. */
export async function bottleneckSizes(directory: string): Promise<ModuleSizes> {
  return ownBottleneckSizes(await openSafetensors(join(directory, BOTTLENECK_FILE)));
}

/** Reads a bottleneck adapter for a base model with these modules. */
export async function loadBottleneck(
  directory: string,
  modules: ModuleSizes,
  { fingerprint, open = intoMemory }: { readonly fingerprint?: string | undefined; readonly open?: OpenTensors } = {},
): Promise<BottleneckAdapter> {
  const config = await readFile(join(directory, BOTTLENECK_CONFIG_FILE), "utf8");
  const file = join(directory, BOTTLENECK_FILE);
  if (!(await exists(file))) {
    const fix = "Use the base model it was trained on, or save the adapter again with Skein.";
    throw new AdapterError({ code: "adapter-incomplete", what: `${BOTTLENECK_FILE} is missing.`, where: directory, fix });
  }
  const { read, ...header } = await open(file);
  return parseBottleneck({ directory, config, header, read }, modules, fingerprint);
}

/** Writes `adapter` into `directory`, each file whole or not at all. */
export async function saveBottleneck(
  directory: string,
  adapter: BottleneckAdapter,
  record: { baseName?: string | undefined; baseFingerprint?: string | undefined } = {},
): Promise<void> {
  const { config, tensors, metadata } = bottleneckFiles(adapter, { directory, ...record });
  await makeFolder(directory);
  // The old configuration goes first: a folder caught between two writes is then incomplete, never a wrong pair.
  await rm(join(directory, BOTTLENECK_CONFIG_FILE), { force: true });
  await writeSafetensors(join(directory, BOTTLENECK_FILE), tensors, { metadata });
  await writeFileAtomically(join(directory, BOTTLENECK_CONFIG_FILE), config);
}
