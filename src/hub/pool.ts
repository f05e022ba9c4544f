/** @file Pools and single adapters on the hub: a pool is one repository with pool.json and experts/<name>/; an adapter is a repository or a
 *  folder in one. Files come into the cache, each checked against its hash. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { CheckpointError } from "../base/errors.ts";
import { hubAccess, hubFailure, notCachedOffline, placeOf, repositoryProblem } from "./access.ts";
import { cachedSnapshot, type HubRepository, isCommit, isOffline, repositoryCache } from "./cache.ts";
import { type RemoteFiles, remoteFiles } from "./files.ts";
import type { ResolveOptions } from "./resolve-model.ts";

/** What a pool or adapter on the hub became on this machine. */
export interface Downloaded {
  readonly repository: string;
  readonly commit: string;
  /** The folder in the cache. */
  readonly folder: string;
}

const POOL_FILES = /^(?:pool|moa)\.json$|^[^/]+\.safetensors$|^README\.md$|^experts\/[^/]+\/(?:[^/]+\.(?:json|safetensors)|README\.md)$/;
const ADAPTER_FILES = /^(?:(?:skein_)?adapter|gate)_config\.json$|^[^/]+\.safetensors$|^turn_end\.json$|^README\.md$/;

/** Downloads the pool "org/name[@revision]" into the cache. */
export function downloadPool(id: string, options: ResolveOptions = {}): Promise<Downloaded> {
  return downloaded({ ...repositoryOf(id), main: "pool.json" }, (paths) => paths.filter((path) => POOL_FILES.test(path)), options);
}

/** An adapter on the hub, "org/name[/folder][@revision]", downloaded into the cache. With `pickles`, also one that is adapter_model.bin alone. */
export async function downloadAdapter(id: string, { pickles = false, ...options }: ResolveOptions & { readonly pickles?: boolean } = {}) {
  const repository = repositoryOf(id);
  const prefix = repository.subfolder === undefined ? "" : `${repository.subfolder}/`;
  const wanted = (paths: readonly string[]) => {
    const own = paths.filter((path) => path.startsWith(prefix)).map((path) => path.slice(prefix.length));
    const files = own.filter((path) => ADAPTER_FILES.test(path));
    const hasTensors = files.some((path) => /adapter_model\.safetensors$/.test(path));
    const pickle = !hasTensors && own.includes("adapter_model.bin");
    if (!hasTensors && !(pickle && pickles)) throw noAdapter(repository, own, pickle);
    return [...files, ...(pickle ? ["adapter_model.bin"] : [])].map((path) => `${prefix}${path}`);
  };
  const found = await downloaded({ ...repository, main: `${prefix}adapter_config.json` }, wanted, options);
  const name = (repository.subfolder ?? repository.name).split("/").at(-1)!;
  return { ...found, folder: join(found.folder, prefix), name };
}

interface Wanted extends HubRepository {
  readonly subfolder?: string | undefined;
  /** A file that shows that the snapshot in the cache is whole. */
  readonly main: string;
}

/** Splits "org/name/folder@revision". */
function repositoryOf(id: string): Omit<Wanted, "main"> {
  const [, name, subfolder, revision = "main"] = /^([\w-][\w.-]*\/[\w-][\w.-]*)((?:\/[\w-][\w.-]*)*)(?:@([\w][\w./-]*))?$/.exec(id) ?? [];
  if (name === undefined || revision.split("/").includes("..")) {
    const fix = "Give a folder that exists, or an id such as org/name, org/name/folder or org/name@revision.";
    throw new CheckpointError({
      code: "checkpoint-not-found",
      what: "There is no such folder, and this is not an id on the hub either.",
      where: id,
      fix,
    });
  }
  return { type: "model", name, revision, ...(subfolder && { subfolder: subfolder.slice(1) }) };
}

async function downloaded(
  repository: Wanted,
  wanted: (paths: readonly string[]) => string[],
  options: ResolveOptions,
): Promise<Downloaded> {
  const env = options.env ?? process.env;
  const cache = repositoryCache(repository, env);
  const found = await cachedSnapshot(cache, repository.revision);
  const cached = found !== undefined && existsSync(join(found, repository.main)) ? found : undefined;
  const fromCache = (folder: string) => ({ repository: repository.name, commit: folder.slice(-40), folder });
  if (cached !== undefined && (isOffline(env) || isCommit(repository.revision))) return fromCache(cached);
  if (isOffline(env)) throw notCachedOffline(repository);
  const access = await hubAccess(env, options.fetch);
  const progress = options.onProgress ? { onProgress: options.onProgress } : {};
  try {
    const remote = await remoteFiles(repository, { cache, access, recursive: true, ...progress });
    if (!remote.entries.has(repository.main)) throw notThere(repository, remote);
    const folder = await remote.fetch(wanted([...remote.entries.keys()]));
    return { repository: repository.name, commit: remote.commit, folder };
  } catch (error) {
    const { isFinal, problem } = hubFailure(repository, env, error);
    if (!isFinal && cached !== undefined) return fromCache(cached);
    throw problem;
  }
}

function notThere(repository: Wanted, { entries }: RemoteFiles) {
  const folders = [...entries.keys()]
    .filter((path) => path.endsWith("/adapter_config.json"))
    .map((path) => path.slice(0, -"/adapter_config.json".length));
  const inside =
    folders.length > 0 ? ` Adapters are in its folders ${folders.slice(0, 12).join(", ")}${folders.length > 12 ? ", ..." : ""}.` : "";
  const fix = folders.length > 0 ? `Name the folder: ${repository.name}/${folders[0]}.` : "Check that this is the repository you meant.";
  return repositoryProblem(repository, { code: "hub-not-found", what: `The repository has no ${repository.main}.${inside}`, fix });
}

function noAdapter(repository: Omit<Wanted, "main">, own: readonly string[], isPickle: boolean) {
  const where = `${placeOf(repository)}${repository.subfolder ? `/${repository.subfolder}` : ""}`;
  if (isPickle) {
    return new CheckpointError({
      code: "checkpoint-pickled",
      what: "This adapter is a pickle (adapter_model.bin), which is not opened directly.",
      where,
      fix: "Convert it: its tensors are read, and no code in it is run.",
      data: { folder: "" }, // nothing is on the disk yet
    });
  }
  return new CheckpointError({
    code: "checkpoint-no-tensors",
    what: `There is no adapter_model.safetensors here, among ${own.length} files.`,
    where,
    fix: "Check that this is the adapter you meant.",
  });
}
