/** @file Adapters on the hub: what they are, and whether they would load. Of each only the configuration and the header of its tensors are
 *  read, by ranges. */

import { BOTTLENECK_CONFIG_FILE, CONFIG_FILE, GATE_FILE, PICKLE_FILE, TENSOR_FILE } from "../adapters/file-names.ts";
import { openedAdapter, ownSizes } from "../adapters/parse-adapter.ts";
import { fittedModules } from "../adapters/peft-fit.ts";
import { AdapterError, messageOf, UserError } from "../base/errors.ts";
import { headerLength, tooShort } from "../checkpoint/safetensors-bytes.ts";
import { corrupt, parseHeader, type TensorInfo } from "../checkpoint/safetensors-header.ts";
import type { RemoteFile } from "../hub/files.ts";
import type { ResolveOptions } from "../hub/resolve-model.ts";
import { type FoundModel, findModels } from "../hub/search.ts";

/** The options of `searchAdapters`. */
export interface AdapterSearch extends ResolveOptions {
  /** Only adapters for this base model, by its id on the hub. */
  readonly base?: string | undefined;
  /** The most repositories to look at. Default: 20. */
  readonly limit?: number | undefined;
}

/** An adapter that was found. */
export interface FoundAdapter {
  /** As `skein/peft` and pools take it: "org/name", or "org/name/folder". */
  readonly id: string;
  readonly base?: string;
  readonly kind?: "lora" | "ia3" | "bottleneck";
  /** Each rank in use, in ascending order. */
  readonly ranks: readonly number[];
  readonly modules: number;
  /** Bytes of the tensor file. */
  readonly bytes?: number;
  readonly gates: boolean;
  readonly downloads: number;
  /** Whether it would load over a base with its modules. */
  readonly loads: boolean;
  /** Why not. */
  readonly problem?: string;
}

const MOST_CONFIG_BYTES = 2 ** 20;
const MOST_FOLDERS = 20; // of one repository

/** Adapters on the hub whose repository's name contains `text`.
 *  @throws CheckpointError where the hub refuses or cannot be reached. */
export async function searchAdapters(text: string, { base, limit = 20, ...options }: AdapterSearch = {}): Promise<FoundAdapter[]> {
  const tags = base === undefined ? ["peft"] : [`base_model:adapter:${base}`];
  const models = await findModels(text, { ...options, tags, limit });
  const found: FoundAdapter[] = [];
  for (const model of models) for (const folder of foldersOf(model)) found.push(await described(model, folder));
  return found;
}

/** The folders of a repository that hold adapters, the top as "". */
function foldersOf({ paths }: FoundModel): string[] {
  const configs = paths.filter((path) => [CONFIG_FILE, BOTTLENECK_CONFIG_FILE].includes(path.split("/").at(-1)!));
  return [...new Set(configs.map((path) => path.slice(0, path.lastIndexOf("/") + 1)))].slice(0, MOST_FOLDERS);
}

async function described(model: FoundModel, folder: string): Promise<FoundAdapter> {
  const has = (file: string) => model.paths.includes(`${folder}${file}`);
  const id = folder === "" ? model.id : `${model.id}/${folder.slice(0, -1)}`;
  const known = { id, ranks: [], modules: 0, gates: has(GATE_FILE), downloads: model.downloads };
  if (!has(CONFIG_FILE)) return { ...known, kind: "bottleneck", loads: true };
  try {
    const config = await textOf(await model.open(`${folder}${CONFIG_FILE}`), id);
    if (!has(TENSOR_FILE)) return { ...known, ...namedIn(config), loads: false, problem: withoutTensors(has(PICKLE_FILE)) };
    const file = await model.open(`${folder}${TENSOR_FILE}`);
    const opened = openedAdapter({ directory: id, config, ...(await headerOf(file, id)) });
    const facts = { ...known, ...namedIn(config), kind: opened.config.kind, modules: opened.modules.size, bytes: file.byteLength };
    try {
      const { fitted } = await fittedModules(opened, ownSizes(opened), needsBase);
      const ranks = new Set(fitted.flatMap((fit) => (fit.kind === "lora" ? [fit.rank] : [])));
      return { ...facts, ranks: [...ranks].sort((a, b) => a - b), loads: true };
    } catch (error) {
      return { ...facts, loads: false, problem: reason(error) };
    }
  } catch (error) {
    return { ...known, loads: false, problem: reason(error) };
  }
}

const withoutTensors = (isPickle: boolean) =>
  isPickle ? "It is a pickle (adapter_model.bin); it can be converted." : "It has no adapter_model.safetensors.";

/** What is wrong with one adapter does not end the search; a bug does. */
function reason(error: unknown): string {
  if (error instanceof UserError) return error.what;
  if (error instanceof TypeError || error instanceof SyntaxError || (error instanceof Error && error.name === "HubApiError"))
    return messageOf(error);
  throw error;
}

function namedIn(config: string): { base?: string } {
  const { base_model_name_or_path: base } = JSON.parse(config) as { base_model_name_or_path?: unknown };
  return typeof base === "string" && base !== "" ? { base } : {};
}

async function textOf(file: RemoteFile, where: string): Promise<string> {
  if (file.byteLength > MOST_CONFIG_BYTES) throw corrupt(where, `its ${CONFIG_FILE} has ${file.byteLength} bytes.`);
  return new TextDecoder().decode(await file.slice(0, file.byteLength));
}

async function headerOf(file: RemoteFile, where: string) {
  const whole = { file: where, fileBytes: file.byteLength };
  if (file.byteLength < 8) throw tooShort(whole);
  const length = headerLength(await file.slice(0, 8), whole);
  return parseHeader(new Uint8Array(await file.slice(8, 8 + length)), whole);
}

/** Tensors of the base are compared when the adapter is opened, over its base. */
const needsBase = async ({ name: tensor }: TensorInfo): Promise<never> => {
  throw new AdapterError({
    code: "adapter-needs-base",
    data: { tensor },
    what: "It has tensors of the base model, which can be compared only with the base.",
    fix: "Download it and check it with its base.",
  });
};
