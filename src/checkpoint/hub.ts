/** @file Finds a model given as a folder or as a hub id `org/name[@revision]`.
 *
 *  A folder of that name wins. A pinned commit that is in the cache needs no network; a branch or tag is looked up on the hub, and in
 *  the cache when the hub cannot be reached or HF_HUB_OFFLINE=1. HF_ENDPOINT, HF_TOKEN, HF_HOME and HF_HUB_CACHE are those of Python. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { HubApiError } from "@huggingface/hub";
import { CheckpointError, messageOf, UserError } from "../base/errors.ts";
import { asWriteProblem } from "./atomic.ts";
import { readJsonObject } from "./checkpoint.ts";
import { accessToken, cachedSnapshot, type Environment, type HubModel, isCommit, isFolder, isOffline, modelCache } from "./hub-cache.ts";
import { type DownloadProgress, downloadModel } from "./hub-download.ts";

export type { DownloadProgress } from "./hub-download.ts";

export interface ResolveOptions {
  /** The network; default the global fetch. */
  readonly fetch?: typeof fetch;
  /** Environment variables; default the process's. */
  readonly env?: Environment;
  readonly onProgress?: (progress: DownloadProgress) => void;
}

/** The folder of a model (or adapter): `idOrPath` itself when it is one, else the cached or downloaded snapshot of a hub id. */
export async function resolveModel(idOrPath: string, options: ResolveOptions = {}): Promise<string> {
  if (await isFolder(idOrPath)) return idOrPath;
  const model = parseHubId(idOrPath);
  const env = options.env ?? process.env;
  const cached = await cachedSnapshot(model, env);
  if (isOffline(env)) return cached ?? notCached(model, "HF_HUB_OFFLINE is set", "Unset HF_HUB_OFFLINE to download it");
  if (cached !== undefined && isCommit(model.revision) && (await isComplete(cached))) return cached;
  const token = await accessToken(env);
  if (token !== undefined && !token.startsWith("hf_")) {
    throw new CheckpointError({
      what: "The access token does not start with hf_.",
      where: env.HF_TOKEN === undefined ? "the token file of Hugging Face" : "HF_TOKEN",
      fix: "Copy a token from https://huggingface.co/settings/tokens, or unset it: public models need none.",
    });
  }
  const access = {
    ...(env.HF_ENDPOINT ? { hubUrl: env.HF_ENDPOINT.replace(/\/+$/, "") } : {}),
    ...(token === undefined ? {} : { accessToken: token }),
    ...(options.fetch ? { fetch: options.fetch } : {}),
  };
  const onProgress = options.onProgress ? { onProgress: options.onProgress } : {};
  try {
    return await downloadModel(model, { cache: modelCache(model, env), access, ...onProgress });
  } catch (error) {
    const problem = asWriteProblem(error, modelCache(model, env));
    if (problem instanceof UserError) throw problem;
    if (error instanceof HubApiError && error.statusCode < 500) throw refused(model, error);
    if (cached !== undefined && (await isComplete(cached))) return cached;
    const hub = env.HF_ENDPOINT || "https://huggingface.co";
    return notCached(
      model,
      `fetching it from ${hub} failed: ${messageOf(error)}`,
      "Check the network and try again: it goes on where it stopped",
      error,
    );
  }
}

/** Splits "org/name@revision"; the revision defaults to "main". */
function parseHubId(id: string): HubModel {
  const [, name, revision = "main"] = /^([\w-][\w.-]*\/[\w-][\w.-]*)(?:@([\w][\w./-]*))?$/.exec(id) ?? [];
  if (name !== undefined && !revision.split("/").includes("..")) return { name, revision };
  throw new CheckpointError({
    what: "There is no such folder, and this is not the id of a model on the hub either.",
    where: id,
    fix: "Give a folder that exists, or an id such as google-t5/t5-small or google-t5/t5-small@main.",
  });
}

/** Whether a snapshot holds a configuration and every tensor file it should. */
async function isComplete(folder: string): Promise<boolean> {
  const has = (name: string): boolean => existsSync(join(folder, name));
  if (has("adapter_config.json")) return has("adapter_model.safetensors");
  if (!has("config.json")) return false;
  if (has("model.safetensors")) return true;
  if (!has("model.safetensors.index.json")) return false;
  const { weight_map: map } = await readJsonObject(join(folder, "model.safetensors.index.json"));
  return typeof map === "object" && map !== null && Object.values(map).every((shard) => has(String(shard)));
}

function notCached({ name, revision }: HubModel, why: string, fix: string, cause?: unknown): never {
  throw new CheckpointError({
    what: `The model is not in the cache, and ${why}.`,
    where: `${name}@${revision}`,
    fix: `${fix}, or give the folder of a local copy.`,
    cause,
  });
}

function refused({ name, revision }: HubModel, error: HubApiError): CheckpointError {
  const page = `https://huggingface.co/${name}`;
  const [what, fix] =
    error.statusCode === 401 || error.statusCode === 403
      ? [
          "The hub does not give out this model: it is gated or private, or its name is wrong.",
          `Check the name at ${page}; if it asks you to accept terms, do, then set HF_TOKEN to a token of your account.`,
        ]
      : error.statusCode === 404
        ? ["The hub knows no such model or revision.", `Check the name at ${page} and the revision among its branches and tags.`]
        : [
            "The hub refused the request.",
            error.statusCode === 429 ? "Too many requests: wait some minutes, or set HF_TOKEN." : "See the message above.",
          ];
  return new CheckpointError({
    what: `${what} (HTTP ${error.statusCode}: ${error.message})`,
    where: `${name}@${revision}`,
    fix,
    cause: error,
  });
}
