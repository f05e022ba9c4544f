/** @file Lists the files of a dataset on the hub without downloading them. If the hub cannot be reached, it lists the cached files. */

import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join, sep } from "node:path";
import { hubAccess, hubFailure, notCachedOffline } from "./access.ts";
import { cachedSnapshot, type HubRepository, isOffline, repositoryCache } from "./cache.ts";
import { type RemoteFile, remoteFiles } from "./files.ts";
import type { ResolveOptions } from "./resolve-model.ts";

export interface HubListing {
  /** The path of every file from the top, with forward slashes. */
  readonly paths: readonly string[];
  /** Downloads those of these files that are not in the cache; returns their paths on disk, in the same order. */
  readonly fetch: (paths: readonly string[]) => Promise<string[]>;
  /** A file on the hub, read by ranges; absent where the listing is of files on disk. */
  readonly open?: (path: string) => Promise<RemoteFile>;
}

/** The files of `repository` on the hub, or those in the cache when the hub cannot be reached or HF_HUB_OFFLINE=1. */
export async function listRepository(repository: HubRepository, options: ResolveOptions = {}): Promise<HubListing> {
  const env = options.env ?? process.env;
  const cache = repositoryCache(repository, env);
  const cached = await cachedSnapshot(cache, repository.revision);
  if (isOffline(env)) {
    if (cached !== undefined) return folderListing(cached);
    throw notCachedOffline(repository);
  }
  const access = await hubAccess(env, options.fetch);
  const progress = options.onProgress ? { onProgress: options.onProgress } : {};
  try {
    const { entries, fetch, open } = await remoteFiles(repository, { cache, access, recursive: true, ...progress });
    const asked = async (paths: readonly string[]): Promise<string> => {
      try {
        return await fetch(paths);
      } catch (error) {
        throw hubFailure(repository, env, error).problem;
      }
    };
    const opened = async (path: string): Promise<RemoteFile> => {
      try {
        return await open(path);
      } catch (error) {
        throw hubFailure(repository, env, error).problem;
      }
    };
    return {
      paths: [...entries.keys()],
      ...(cached === undefined ? { open: opened } : {}),
      fetch: async (paths) => {
        const folder = await asked(paths);
        return paths.map((path) => join(folder, path));
      },
    };
  } catch (error) {
    const { isFinal, problem } = hubFailure(repository, env, error);
    if (isFinal || cached === undefined) throw problem;
    return folderListing(cached);
  }
}

/** The files below a folder. */
export async function folderListing(folder: string): Promise<HubListing> {
  const names = await readdir(folder, { recursive: true }).catch(() => []); // no such folder: no files
  const present = names.filter((name) => existsSync(join(folder, name))); // a link whose blob was deleted does not count
  return {
    paths: present.map((name) => name.split(sep).join("/")).sort(),
    fetch: async (paths) => paths.map((path) => join(folder, path)),
  };
}
