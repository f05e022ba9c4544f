/** @file Writing adapter folders. */

import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Adapter } from "../adapters/adapter.ts";
import { CONFIG_FILE, TENSOR_FILE } from "../adapters/file-names.ts";
import { peftFiles, type SaveOptions } from "../adapters/peft-save.ts";
import { AdapterError } from "../base/errors.ts";
import { makeFolder, writeFileAtomically } from "../checkpoint/atomic.ts";
import { writeSafetensors } from "../checkpoint/safetensors.ts";
import { saveBottleneck } from "./bottleneck.ts";

/** Writes `adapter` into `directory`, each file atomically. Other files there stay unchanged.
 *  PEFT has no bottleneck adapters, so they are written in Skein's own format (adapters/bottleneck-file.ts).
 *  @throws AdapterError for names that PEFT could not read, CheckpointError where the folder cannot be written. */
export async function saveAdapter(directory: string, adapter: Adapter, options: SaveOptions = {}): Promise<void> {
  if (adapter.modules.size === 0) {
    throw new AdapterError({
      code: "adapter-empty",
      what: "The adapter has no modules.",
      where: directory,
      fix: "Train or merge it over at least one module.",
    });
  }
  if (adapter.kind === "bottleneck") return saveBottleneck(directory, adapter, options);
  const { config, tensors, metadata } = peftFiles(adapter, options);
  await makeFolder(directory);
  // The old configuration goes first: a folder caught between two writes is then incomplete, never a wrong pair.
  await rm(join(directory, CONFIG_FILE), { force: true });
  await writeSafetensors(join(directory, TENSOR_FILE), tensors, { metadata });
  await writeFileAtomically(join(directory, CONFIG_FILE), config);
}
