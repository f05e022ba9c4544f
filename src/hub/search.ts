/** @file Searches the hub for models by name and tag, and opens their files by ranges. */

import { listModels } from "@huggingface/hub";
import { hubAccess, hubFailure, notCachedOffline } from "./access.ts";
import { isOffline } from "./cache.ts";
import { type RemoteFile, remoteFile } from "./files.ts";
import type { ResolveOptions } from "./resolve-model.ts";

export interface FoundModel {
  /** "org/name" */
  readonly id: string;
  readonly downloads: number;
  readonly tags: readonly string[];
  readonly paths: readonly string[];
  /** A file of it, of which only the parts that are asked for are transferred. */
  readonly open: (path: string) => Promise<RemoteFile>;
}

/** Models whose name contains `text` and which have all `tags`, most downloaded first.
 *  @throws CheckpointError where the hub refuses or cannot be reached. */
export async function findModels(
  text: string,
  { tags, limit, ...options }: ResolveOptions & { readonly tags: readonly string[]; readonly limit: number },
): Promise<FoundModel[]> {
  const env = options.env ?? process.env;
  const repository = { type: "model" as const, name: text, revision: "main" };
  if (isOffline(env)) throw notCachedOffline(repository);
  const access = await hubAccess(env, options.fetch);
  const found: FoundModel[] = [];
  const search = { ...(text !== "" && { query: text }), tags: [...tags] };
  try {
    for await (const model of listModels({ search, limit, sort: "downloads", additionalFields: ["tags", "filePaths", "sha"], ...access })) {
      const { name: id, downloads, tags: own, filePaths, sha } = model;
      const open = (path: string) => remoteFile({ type: "model", name: id, revision: String(sha) }, path, access);
      found.push({ id, downloads, tags: own ?? [], paths: filePaths, open });
    }
  } catch (error) {
    throw hubFailure(repository, env, error).problem;
  }
  return found;
}
