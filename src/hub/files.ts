/** @file Downloads files of a hub repository into the cache, which Python's tools share.
 *
 *  An interrupted download continues where it stopped. The content of every file is checked against its hash: SHA-256 for large files,
 *  git's blob SHA-1 for small ones. The files enter the snapshot together, after all of them were downloaded, and the branch's ref is
 *  written last. A snapshot therefore never holds only a part of a download. */

import { createHash, type Hash } from "node:crypto";
import { createReadStream, existsSync } from "node:fs";
import { lstat, mkdir, open, rename, rm, stat, symlink } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { datasetInfo, downloadFile, type ListFileEntry, listFiles, modelInfo } from "@huggingface/hub";
import { codeOf, writeFileAtomically } from "../checkpoint/atomic.ts";
import { type HubAccess, repositoryProblem } from "./access.ts";
import { type HubRepository, isCommit } from "./cache.ts";

/** The progress of a download. */
export interface DownloadProgress {
  readonly repository: string;
  readonly file: string;
  readonly loadedBytes: number;
  readonly totalBytes: number;
}

export interface DownloadOptions {
  /** The repository's folder in the cache. */
  readonly cache: string;
  readonly access: HubAccess;
  readonly onProgress?: (progress: DownloadProgress) => void;
}

/** The files of a repository at one commit. */
export interface RemoteFiles {
  readonly commit: string;
  /** All files, by path from the top. */
  readonly entries: ReadonlyMap<string, ListFileEntry>;
  /** Downloads those of these files that are not in the cache; returns the snapshot's folder. */
  readonly fetch: (paths: readonly string[]) => Promise<string>;
  /** A file on the hub, of which only the parts that are asked for are transferred. */
  readonly open: (path: string) => Promise<RemoteFile>;
}
export interface RemoteFile {
  readonly byteLength: number;
  slice(start: number, end?: number): Promise<ArrayBuffer>;
}

/** Lists the files of `repository` on the hub: all of them, or only those at the top. */
export async function remoteFiles(
  repository: HubRepository,
  options: DownloadOptions & { readonly recursive: boolean },
): Promise<RemoteFiles> {
  const { type, name, revision } = repository;
  const { cache, access, recursive } = options;
  const request = { name, revision, additionalFields: ["sha" as const], ...access };
  const { sha: commit } = type === "model" ? await modelInfo(request) : await datasetInfo(request);
  if (typeof commit !== "string" || !isCommit(commit)) throw new TypeError(`the hub gave ${JSON.stringify(commit)} for a commit`);
  const entries = new Map<string, ListFileEntry>();
  for await (const entry of listFiles({ repo: { type, name }, revision: commit, recursive, ...access })) {
    if (entry.type !== "file") continue;
    if (leavesItsFolder(entry.path)) {
      throw repositoryProblem(repository, {
        code: "hub-unsafe",
        what: `The hub lists the file ${JSON.stringify(entry.path)}, which would lie outside the repository's folder.`,
        fix: "Do not use this repository, and check that HF_ENDPOINT names a hub you trust.",
      });
    }
    entries.set(entry.path, entry);
  }
  return {
    commit,
    entries,
    open: (path) => remoteFile({ type, name, revision: commit }, path, access),
    fetch: async (paths) => {
      const snapshot = join(cache, "snapshots", commit);
      const missing = paths.filter((path) => !existsSync(join(snapshot, path))).map((path) => entries.get(path)!);
      for (const entry of missing) await fetchBlob(entry, { ...options, repository, commit });
      for (const entry of missing) await link(join(cache, "blobs", hashOf(entry)), join(snapshot, entry.path));
      if (!isCommit(revision)) await writeFileAtomically(join(cache, "refs", revision), commit);
      return snapshot;
    },
  };
}

/** A file on the hub, read by ranges. */
export async function remoteFile({ type, name, revision }: HubRepository, path: string, access: HubAccess): Promise<RemoteFile> {
  const content = await downloadFile({ repo: { type, name }, path, revision, ...access });
  if (!content) throw new TypeError(`the hub lists ${path} but does not have it`);
  return { byteLength: content.size, slice: (start, end = content.size) => content.slice(start, end).arrayBuffer() };
}

function leavesItsFolder(path: string): boolean {
  return /[\\\0]/.test(path) || path.split("/").some((part) => part === "" || part === "." || part === "..");
}

function hashOf({ path, lfs, oid }: ListFileEntry): string {
  const hash = lfs?.oid ?? oid;
  if (hash === undefined || !/^[0-9a-f]{40,64}$/.test(hash)) throw new TypeError(`the hub gave no usable hash for ${path}`);
  return hash;
}

/** Starts the hash of a file's content that the hub lists: SHA-256 for a large file, git's SHA-1 of a blob for a small one. */
export function contentHash({ size, lfs }: Pick<ListFileEntry, "size" | "lfs">): Hash {
  return lfs ? createHash("sha256") : createHash("sha1").update(`blob ${size}\0`);
}

interface BlobOptions extends DownloadOptions {
  readonly repository: HubRepository;
  readonly commit: string;
}

/** Writes `entry`'s content to its blob; continues where an earlier attempt stopped. */
async function fetchBlob(entry: ListFileEntry, { repository, commit, cache, access, onProgress }: BlobOptions): Promise<void> {
  const { path, size } = entry;
  const blob = join(cache, "blobs", hashOf(entry));
  if (await stat(blob).catch(() => undefined)) return;
  await mkdir(dirname(blob), { recursive: true });
  const incomplete = `${blob}.incomplete`;
  const hash = contentHash(entry);
  let loaded = Math.min(await hashFile(incomplete, hash), size);
  const handle = await open(incomplete, loaded > 0 ? "r+" : "w");
  try {
    if (loaded < size) {
      const { type, name } = repository;
      const content = await downloadFile({ repo: { type, name }, path, revision: commit, ...access });
      if (!content) throw new TypeError(`the hub lists ${path} but does not have it`);
      await handle.truncate(loaded);
      // Each part is written at its offset, not appended, so two processes that fetch the same file write the same bytes.
      for await (const chunk of loaded > 0 ? content.slice(loaded, size).stream() : content.stream()) {
        await handle.write(chunk, 0, chunk.length, loaded);
        hash.update(chunk);
        loaded += chunk.length;
        if (loaded > size) break; // more bytes than announced: stop reading
        onProgress?.({ repository: name, file: path, loadedBytes: loaded, totalBytes: size });
      }
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
  if (loaded < size) throw new TypeError(`${path} ended after ${loaded} of ${size} bytes`);
  if (loaded !== size || hash.digest("hex") !== hashOf(entry)) {
    await rm(incomplete, { force: true });
    throw new TypeError(`${path} arrived with other content than the hub announced`);
  }
  await rename(incomplete, blob);
}

/** Adds the existing part of a file to `hash`; returns its length. */
async function hashFile(path: string, hash: Hash): Promise<number> {
  let bytes = 0;
  try {
    for await (const chunk of createReadStream(path)) {
      hash.update(chunk);
      bytes += chunk.length;
    }
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
  }
  return bytes;
}

async function link(blob: string, pointer: string): Promise<void> {
  await mkdir(dirname(pointer), { recursive: true });
  if (await lstat(pointer).catch(() => undefined)) await rm(pointer); // a link whose blob was deleted
  await symlink(relative(dirname(pointer), blob), pointer);
}
