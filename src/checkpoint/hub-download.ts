/** @file Fetches a model from the Hugging Face hub into the cache Python shares.
 *
 *  Only what a checkpoint or an adapter needs is fetched: JSON, tokenizer files and safetensors at the top of the repository, no pickles
 *  and no other frameworks' copies. An interrupted download goes on where it stopped. Every file's content is checked against its hash:
 *  SHA-256 for large files, git's blob SHA-1 for small ones. A branch's ref is written last, when its snapshot is complete. */

import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { lstat, mkdir, open, rename, rm, stat, symlink } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { downloadFile, type ListFileEntry, listFiles, modelInfo } from "@huggingface/hub";
import { CheckpointError } from "../base/errors.ts";
import { codeOf, writeFileAtomically } from "./atomic.ts";
import { type HubModel, isCommit } from "./hub-cache.ts";

/** How far a download has come. */
export interface DownloadProgress {
  readonly file: string;
  readonly loadedBytes: number;
  readonly totalBytes: number;
}

export interface HubAccess {
  readonly hubUrl?: string;
  readonly accessToken?: string;
  readonly fetch?: typeof fetch;
}

interface DownloadOptions {
  /** The model's folder in the cache. */
  readonly cache: string;
  readonly access: HubAccess;
  readonly onProgress?: (progress: DownloadProgress) => void;
}

/** Brings `model` into the cache and returns its snapshot folder. Files already there are not fetched again. */
export async function downloadModel(model: HubModel, { cache, access, onProgress }: DownloadOptions): Promise<string> {
  const { name, revision } = model;
  const { sha: commit } = await modelInfo({ name, revision, additionalFields: ["sha"], ...access });
  if (typeof commit !== "string" || !isCommit(commit)) throw new TypeError(`the hub gave ${JSON.stringify(commit)} for a commit`);
  const entries: ListFileEntry[] = [];
  for await (const entry of listFiles({ repo: name, revision: commit, ...access })) if (entry.type === "file") entries.push(entry);
  const snapshot = join(cache, "snapshots", commit);
  for (const entry of wantedFiles(entries, model)) await fetchFile(entry, { repo: name, commit, cache, access, onProgress });
  if (!isCommit(revision)) await writeFileAtomically(join(cache, "refs", revision), commit);
  return snapshot;
}

/** The files a checkpoint or adapter consists of. */
function wantedFiles(entries: readonly ListFileEntry[], { name, revision }: HubModel): ListFileEntry[] {
  const names = new Set(entries.map(({ path }) => path));
  const tensors = names.has("model.safetensors") ? /^model\.safetensors$/ : /^model.*\.safetensors$/;
  const others = /^[^/\\]+\.(json|jinja|tiktoken|model)$|^(vocab|merges)\.txt$|^(adapter|gate)_model\.safetensors$/;
  const wanted = entries.filter(({ path }) => tensors.test(path) || others.test(path));
  if (wanted.some(({ path }) => path.endsWith(".safetensors"))) return wanted;
  const pickle = [...names].find((path) => /\.(bin|pt|pth|ckpt)$/.test(path));
  throw new CheckpointError({
    what: pickle
      ? `This model's tensors are pickled (${pickle}); opening a pickle runs the code in it, so it is not fetched.`
      : "This repository holds no safetensors.",
    where: `${name}@${revision}`,
    fix: pickle
      ? `See its page for a revision with safetensors (the hub's converter offers one as ${name}@refs/pr/N), or convert it with Python and pass the folder.`
      : "Check that this is the model you meant.",
  });
}

interface FileOptions extends DownloadOptions {
  readonly repo: string;
  readonly commit: string;
}

async function fetchFile(entry: ListFileEntry, { repo, commit, cache, access, onProgress }: FileOptions): Promise<void> {
  const etag = entry.lfs?.oid ?? entry.oid;
  if (etag === undefined || !/^[0-9a-f]{40,64}$/.test(etag)) throw new TypeError(`the hub gave no usable hash for ${entry.path}`);
  const pointer = join(cache, "snapshots", commit, entry.path);
  if (await stat(pointer).catch(() => undefined)) return;
  const blob = join(cache, "blobs", etag);
  await mkdir(dirname(blob), { recursive: true });
  await mkdir(dirname(pointer), { recursive: true });
  if (!(await stat(blob).catch(() => undefined))) {
    const source = async (): Promise<Blob> => {
      const content = await downloadFile({ repo, path: entry.path, revision: commit, ...access });
      if (!content) throw new TypeError(`the hub lists ${entry.path} but does not have it`);
      return content;
    };
    await fetchBlob(entry, { blob, source, onProgress });
  }
  await link(blob, pointer);
}

interface BlobOptions {
  readonly blob: string;
  readonly source: () => Promise<Blob>;
  readonly onProgress: DownloadOptions["onProgress"];
}

/** Writes `entry`'s content to `blob`, going on where an earlier attempt stopped. */
async function fetchBlob({ path, size, lfs, oid }: ListFileEntry, { blob, source, onProgress }: BlobOptions): Promise<void> {
  const incomplete = `${blob}.incomplete`;
  const hash = lfs ? createHash("sha256") : createHash("sha1").update(`blob ${size}\0`);
  let loaded = Math.min(await hashFile(incomplete, hash), size);
  const handle = await open(incomplete, loaded > 0 ? "r+" : "w");
  try {
    if (loaded < size) {
      const content = await source();
      await handle.truncate(loaded);
      // Written at its own place, not appended: two processes that fetch the same file then write the same bytes.
      for await (const chunk of loaded > 0 ? content.slice(loaded, size).stream() : content.stream()) {
        await handle.write(chunk, 0, chunk.length, loaded);
        hash.update(chunk);
        loaded += chunk.length;
        onProgress?.({ file: path, loadedBytes: loaded, totalBytes: size });
      }
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
  if (loaded < size) throw new TypeError(`${path} ended after ${loaded} of ${size} bytes`);
  if (loaded !== size || hash.digest("hex") !== (lfs?.oid ?? oid)) {
    await rm(incomplete, { force: true });
    throw new TypeError(`${path} arrived with other content than the hub announced`);
  }
  await rename(incomplete, blob);
}

/** Feeds what is there of a file to `hash`; its length. */
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
  if (await lstat(pointer).catch(() => undefined)) await rm(pointer); // a link whose blob was deleted
  await symlink(relative(dirname(pointer), blob), pointer);
}
