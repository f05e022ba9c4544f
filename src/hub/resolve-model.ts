/** @file Finds a model given as a folder or as a hub id `org/name[@revision]`.
 *
 *  An existing folder of that name is used first. A pinned commit that is in the cache needs no network. A branch or tag is looked up on
 *  the hub, or in the cache when the hub cannot be reached or HF_HUB_OFFLINE=1. HF_ENDPOINT, HF_TOKEN, HF_HOME and HF_HUB_CACHE mean the
 *  same as in Python. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { CheckpointError } from "../base/errors.ts";
import { readJsonObject } from "../checkpoint/checkpoint.ts";
import { cachedSnapshot, type Environment, type HubRepository, isCommit, isFolder, isOffline, repositoryCache } from "./cache.ts";
import type { DownloadProgress } from "./files.ts";

export type { DownloadProgress } from "./files.ts";

/** How the Hub is reached. */
export interface ResolveOptions {
  /** The network; default the global fetch. */
  readonly fetch?: typeof fetch;
  /** Environment variables; default the process's. */
  readonly env?: Environment;
  readonly onProgress?: (progress: DownloadProgress) => void;
}

/** The folder of a model or adapter: `idOrPath` itself if it is a folder, else the cached or downloaded snapshot of a hub id. */
export async function resolveModel(idOrPath: string, options: ResolveOptions = {}): Promise<string> {
  if (await isFolder(idOrPath)) return idOrPath;
  const model = parseHubId(idOrPath);
  // The hub's client is loaded only when a model is not a folder: loading it takes as long as opening a small model.
  const [{ hubAccess, hubFailure, notCachedOffline }, { downloadModel }] = await Promise.all([import("./access.ts"), import("./model.ts")]);
  const env = options.env ?? process.env;
  const cache = repositoryCache(model, env);
  const cached = await cachedSnapshot(cache, model.revision);
  if (isOffline(env)) {
    if (cached !== undefined) return cached;
    throw notCachedOffline(model);
  }
  if (cached !== undefined && isCommit(model.revision) && (await isComplete(cached))) return cached;
  const access = await hubAccess(env, options.fetch);
  try {
    return await downloadModel(model, { cache, access, ...(options.onProgress && { onProgress: options.onProgress }) });
  } catch (error) {
    const { isFinal, problem } = hubFailure(model, env, error);
    if (!isFinal && cached !== undefined && (await isComplete(cached))) return cached;
    throw problem;
  }
}

/** Whether a text has the form "org/name". */
export function isRepositoryName(text: string): boolean {
  return /^[\w-][\w.-]*\/[\w-][\w.-]*$/.test(text);
}

/** Whether a text has the form of a hub id, "org/name" or "org/name@revision". */
export function isHubId(id: string): boolean {
  return HUB_ID.test(id);
}
const HUB_ID = /^([\w-][\w.-]*\/[\w-][\w.-]*)(?:@([\w][\w./-]*))?$/;

/** Splits "org/name@revision"; the revision defaults to "main". */
function parseHubId(id: string): HubRepository {
  const [, name, revision = "main"] = HUB_ID.exec(id) ?? [];
  if (name !== undefined && !revision.split("/").includes("..")) return { type: "model", name, revision };
  throw new CheckpointError({
    code: "checkpoint-not-found",
    what: "There is no such folder, and this is not the id of a model on the hub either.",
    where: id,
    fix: "Give a folder that exists, or an id such as google-t5/t5-small or google-t5/t5-small@main.",
  });
}

/** Whether a snapshot holds a configuration and all tensor files. */
async function isComplete(folder: string): Promise<boolean> {
  const has = (name: string): boolean => existsSync(join(folder, name));
  if (has("adapter_config.json")) return has("adapter_model.safetensors");
  if (!has("config.json")) return false;
  if (has("model.safetensors")) return true;
  if (!has("model.safetensors.index.json")) return false;
  const { weight_map: map } = await readJsonObject(join(folder, "model.safetensors.index.json"));
  return typeof map === "object" && map !== null && Object.values(map).every((shard) => has(String(shard)));
}
