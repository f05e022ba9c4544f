/** @file The Hugging Face cache on disk, shared with Python (layout: huggingface.co/docs/hub/local-cache).
 *
 *    <cache>/models--org--name/refs/<revision>          the commit of a branch or tag      (datasets--org--name: a dataset)
 *                              snapshots/<commit>/...   the files, links to ../../blobs
 *                              blobs/<etag>             their content
 *    <cache> = $HF_HUB_CACHE, else $HF_HOME/hub, else $XDG_CACHE_HOME/huggingface/hub, else ~/.cache/huggingface/hub */

import { readFile, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { codeOf } from "../checkpoint/atomic.ts";

/** Variables by name, as `process.env` has them. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** A model or dataset on the hub at a branch, tag or commit. */
export interface HubRepository {
  readonly type: "model" | "dataset";
  /** "org/name"; some old datasets have no "org/" */
  readonly name: string;
  readonly revision: string;
}

/** The folder of Hugging Face's tools. Empty variables count as absent. */
export function hubHome(env: Environment): string {
  return env.HF_HOME || join(env.XDG_CACHE_HOME || join(homedir(), ".cache"), "huggingface");
}

/** The folder of what Skein computes once and keeps: $SKEIN_CACHE, else skein/ beside the hub's cache. */
export function skeinCache(env: Environment): string {
  return env.SKEIN_CACHE || join(hubHome(env), "skein");
}

/** The folder of one model or dataset in the cache. */
export function repositoryCache({ type, name }: Pick<HubRepository, "type" | "name">, env: Environment): string {
  const cache = env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(hubHome(env), "hub");
  return join(cache, cacheName(type, name));
}

/** The name of that folder: datasets--org--name. */
export function cacheName(type: HubRepository["type"], name: string): string {
  return `${type}s--${name.replaceAll("/", "--")}`;
}

/** Whether the network is off: HF_HUB_OFFLINE is 1, on, yes or true. */
export function isOffline(env: Environment): boolean {
  return ["1", "ON", "YES", "TRUE"].includes((env.HF_HUB_OFFLINE ?? "").toUpperCase());
}

/** The access token: HF_TOKEN, else the file that `hf auth login` wrote. */
export async function accessToken(env: Environment): Promise<string | undefined> {
  const token = env.HF_TOKEN ?? (await readIfThere(env.HF_TOKEN_PATH || join(hubHome(env), "token"))) ?? "";
  return token.trim() || undefined;
}

export function isCommit(revision: string): boolean {
  return /^[0-9a-f]{40}$/.test(revision);
}

/** The snapshot's folder in `cache` (a repository's folder), complete or not; undefined when there is none. */
export async function cachedSnapshot(cache: string, revision: string): Promise<string | undefined> {
  const commit = isCommit(revision) ? revision : (await readIfThere(join(cache, "refs", revision)))?.trim();
  if (commit === undefined || !isCommit(commit)) return undefined;
  const folder = join(cache, "snapshots", commit);
  return (await isFolder(folder)) ? folder : undefined;
}

export async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (["ENOENT", "ENOTDIR", "EISDIR"].includes(codeOf(error))) return undefined;
    throw error;
  }
}
