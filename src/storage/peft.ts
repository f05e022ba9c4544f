/** @file Adapter folders on disk: PEFT's adapter_config.json + adapter_model.safetensors, and bottlenecks in Skein's own format. */

import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Adapter } from "../adapters/adapter.ts";
import { CONFIG_FILE, PICKLE_FILE, TENSOR_FILE } from "../adapters/file-names.ts";
import type { ModuleSizes } from "../adapters/modules.ts";
import { adapterOf, openedAdapter } from "../adapters/parse-adapter.ts";
import { parsePeftConfig } from "../adapters/peft-config.ts";
import type { OpenedAdapter } from "../adapters/peft-fit.ts";
import { checkFingerprint } from "../adapters/tensor-file.ts";
import { AdapterError } from "../base/errors.ts";
import { openSafetensors } from "../checkpoint/safetensors.ts";
import { isBottleneckFolder, loadBottleneck } from "./bottleneck.ts";
import { exists, readText } from "./files.ts";
import { intoMemory, type OpenTensors } from "./tensor-source.ts";
import { readTurnEnds } from "./turn-end.ts";

/** Which base an adapter must belong to. */
export interface LoadAdapterOptions {
  /** Fingerprint of the base model. An adapter that records another one is refused. */
  readonly fingerprint?: string;
}

/** Reads an adapter for a base model with these modules. Throws an AdapterError with a remedy if it does not fit.
 *  @throws AdapterError for a folder that holds no adapter, and for one that does not fit the modules or the fingerprint. */
export async function loadAdapter(directory: string, modules: ModuleSizes, options: LoadAdapterOptions = {}): Promise<Adapter> {
  return adapterFrom(intoMemory, directory, modules, options);
}

/** The same, with tensor files opened by `open`. */
export async function adapterFrom(
  open: OpenTensors,
  directory: string,
  modules: ModuleSizes,
  { fingerprint }: LoadAdapterOptions,
): Promise<Adapter> {
  if (await isBottleneckFolder(directory)) return withTurnEnds(await loadBottleneck(directory, modules, { fingerprint, open }), directory);
  const { directory: found, config } = await adapterConfig(directory);
  const { read, ...file } = await open(join(found, TENSOR_FILE));
  const opened = openedAdapter({ directory: found, config, ...file });
  checkFingerprint("The adapter was", found, opened.baseFingerprint, fingerprint);
  return withTurnEnds(await adapterOf(opened, modules, read), found);
}

async function withTurnEnds(adapter: Adapter, directory: string): Promise<Adapter> {
  const turnEnds = await readTurnEnds(directory);
  return turnEnds.length > 0 ? { ...adapter, turnEnds } : adapter;
}

/** Opens an adapter folder: reads its configuration and the header of its tensor file. */
export async function openAdapter(directory: string): Promise<OpenedAdapter> {
  const found = await adapterConfig(directory);
  return openedAdapter({ ...found, ...(await openSafetensors(join(found.directory, TENSOR_FILE))) });
}

/** The folder that holds the adapter, and its configuration. Its tensor file exists. */
async function adapterConfig(directory: string): Promise<{ directory: string; config: string }> {
  const found = await adapterFolder(directory);
  const config = await readText(join(found, CONFIG_FILE));
  const file = join(found, TENSOR_FILE);
  if (!(await exists(file))) {
    parsePeftConfig(config, join(found, CONFIG_FILE)); // throws if the files are another library's
    await refusePickle(found);
  }
  return { directory: found, config };
}

/** The folder itself if it holds an adapter, else its only subfolder that does (PEFT saves named adapters like this). */
export async function adapterFolder(directory: string): Promise<string> {
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

async function refusePickle(directory: string): Promise<never> {
  const pickle = join(directory, PICKLE_FILE);
  if (!(await exists(pickle)))
    throw new AdapterError({
      code: "adapter-incomplete",
      what: `${TENSOR_FILE} is missing.`,
      where: directory,
      fix: "Download or save the adapter again.",
    });
  throw new AdapterError({
    code: "adapter-pickled",
    what: "The adapter is a Python pickle, which can run code when it is opened; Skein opens none as an adapter.",
    where: pickle,
    fix: "Convert it first, which reads its tensors and runs nothing.",
    data: { folder: directory },
  });
}
