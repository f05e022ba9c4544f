/** @file Uploads files to a model repository of the hub, in commits of under 100 files.
 *
 *  Files that the hub has already are not sent again, so an upload that was stopped goes on where it stopped. Every commit names the
 *  commit that it follows: if somebody else committed meanwhile, the hub refuses it and nothing of theirs is lost. Files in `last` are in
 *  the last commit, so that a reader never sees a list of files that are not there yet. */

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { setTimeout } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { type CommitOperation, commit, createRepo, HubApiError, type ListFileEntry } from "@huggingface/hub";
import { chunks } from "../base/chunks.ts";
import { CheckpointError, invariant, messageOf, UserError } from "../base/errors.ts";
import { type HubAccess, hubAccess, hubFailure, repositoryProblem } from "./access.ts";
import { type HubRepository, isOffline, repositoryCache } from "./cache.ts";
import { contentHash, remoteFiles } from "./files.ts";
import { isRepositoryName, type ResolveOptions } from "./resolve-model.ts";

/** A file to upload: its path in the repository, and its text or the file on disk. */
export interface UploadFile {
  readonly path: string;
  readonly content: string | { readonly file: string };
}

export interface UploadOptions extends ResolveOptions {
  /** Make a new repository private. */
  readonly private?: boolean;
  /** The first line of the commits. */
  readonly title: string;
  /** Paths of the last commit. */
  readonly last: ReadonlySet<string>;
  /** Whether a file on the hub that is not among the files is deleted, in the last commit. */
  readonly deletes: (path: string) => boolean;
  /** Only compare: send nothing. */
  readonly dryRun?: boolean;
  readonly onCommit?: (done: number, total: number) => void;
  /** Waits; default: by the process's clock. */
  readonly sleep?: (milliseconds: number) => Promise<unknown>;
}

/** What was uploaded, or would be. */
export interface Uploaded {
  readonly isNew: boolean;
  readonly sent: readonly { readonly path: string; readonly bytes: number }[];
  readonly deleted: readonly string[];
  /** Files that the hub has already. */
  readonly same: number;
  /** The commit after the upload; absent for a dry run of a new repository. */
  readonly commit?: string;
}

const MOST_FILES = 90; // the hub recommends under 100 in a commit
const TRIES = 5;
const LONGEST_WAIT = 300; // seconds

/** Uploads `files` to the branch `repository.revision`.
 *  @throws CheckpointError without a token that may write, when somebody else committed meanwhile, and when the network fails for good. */
export async function uploadFiles(repository: HubRepository, files: readonly UploadFile[], options: UploadOptions): Promise<Uploaded> {
  const env = options.env ?? process.env;
  if (isOffline(env))
    throw problem(repository, "hub-not-cached", "HF_HUB_OFFLINE is set: nothing can be uploaded.", "Unset HF_HUB_OFFLINE.");
  const access = withPatience(await hubAccess(env, options.fetch), options.sleep ?? setTimeout);
  try {
    const head = await headOf(repository, access, env);
    if (access.accessToken === undefined && !options.dryRun) throw noToken(repository);
    const isNew = head === undefined;
    const entries = head?.entries ?? new Map<string, ListFileEntry>();
    const changed: UploadFile[] = [];
    for (const file of files) if (!(await isSame(file, entries.get(file.path)))) changed.push(file);
    const names = new Set(files.map(({ path }) => path));
    const deleted = [...entries.keys()].filter((path) => !names.has(path) && options.deletes(path));
    const sent = await Promise.all(changed.map(async (file) => ({ path: file.path, bytes: await sizeOf(file) })));
    const result = { isNew, sent, deleted, same: files.length - changed.length };
    if (options.dryRun) return { ...result, ...(head && { commit: head.commit }) };
    if (isNew)
      await createRepo({
        repo: { type: repository.type, name: repository.name },
        ...visibility(options),
        ...access,
        accessToken: access.accessToken!,
      });
    const first = head?.commit ?? (await headOf(repository, access, env))?.commit;
    return { ...result, commit: await commitAll(repository, changed, deleted, { ...options, access, parent: first! }) };
  } catch (error) {
    throw uploadFailure(repository, env, error);
  }
}

const visibility = ({ private: isPrivate }: UploadOptions) =>
  isPrivate === undefined ? {} : { visibility: isPrivate ? ("private" as const) : ("public" as const) };

/** The files and the commit of the branch; undefined for a repository that does not exist. */
async function headOf(repository: HubRepository, access: HubAccess, env: NonNullable<ResolveOptions["env"]>) {
  try {
    return await remoteFiles(repository, { cache: repositoryCache(repository, env), access, recursive: true });
  } catch (error) {
    // Without a token the hub answers 401 for a repository that does not exist, as for a private one.
    const isUnknown = error instanceof HubApiError && (error.statusCode === 404 || (error.statusCode === 401 && !access.accessToken));
    if (isUnknown) return undefined;
    throw error;
  }
}

interface Commits extends UploadOptions {
  readonly access: HubAccess;
  readonly parent: string;
}

async function commitAll(
  repository: HubRepository,
  files: readonly UploadFile[],
  deleted: readonly string[],
  options: Commits,
): Promise<string> {
  const { last, title, onCommit, access } = options;
  const parts: CommitOperation[][] = [];
  for (const part of chunks(
    files.filter(({ path }) => !last.has(path)),
    MOST_FILES,
  ))
    parts.push(part.map(added));
  const end = [
    ...files.filter(({ path }) => last.has(path)).map(added),
    ...deleted.map((path) => ({ operation: "delete" as const, path })),
  ];
  for (const part of chunks(end, MOST_FILES)) parts.push(part);
  let parent = options.parent;
  for (const [i, operations] of parts.entries()) {
    onCommit?.(i, parts.length);
    const name = parts.length > 1 ? `${title} (${i + 1} of ${parts.length})` : title;
    const { type, name: repo, revision: branch } = repository;
    const request = { repo: { type, name: repo }, branch, title: name, operations, parentCommit: parent, useXet: false, ...access };
    const output = await again(() => commit(request), options);
    invariant(output, "a commit to a model repository has a result");
    parent = output.commit.oid;
  }
  onCommit?.(parts.length, parts.length);
  return parent;
}

function added({ path, content }: UploadFile): CommitOperation {
  return { operation: "addOrUpdate", path, content: typeof content === "string" ? new Blob([content]) : pathToFileURL(content.file) };
}

/** Tries again when the connection breaks: large files that arrived are not sent again. */
async function again<T>(work: () => Promise<T>, { sleep = setTimeout }: UploadOptions): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      const isFinal = error instanceof UserError || (error instanceof HubApiError && error.statusCode < 500);
      if (isFinal || attempt === TRIES) throw error;
      await sleep(1000 * 2 ** (attempt - 1));
    }
  }
}

/** Waits as long as the hub asks for when there were too many requests. */
function withPatience(access: HubAccess, sleep: (milliseconds: number) => Promise<unknown>): HubAccess {
  const inner = access.fetch ?? fetch;
  const patient: typeof fetch = async (...request) => {
    for (let attempt = 1; ; attempt++) {
      const response = await inner(...request);
      const seconds = Number(response.headers.get("retry-after") ?? Number.NaN);
      if (response.status !== 429 || attempt === TRIES || !(seconds <= LONGEST_WAIT)) return response;
      await response.body?.cancel();
      await sleep(1000 * seconds);
    }
  };
  return { ...access, fetch: patient };
}

/** Whether the hub has this content. */
async function isSame(file: UploadFile, entry: ListFileEntry | undefined): Promise<boolean> {
  if (!entry || entry.size !== (await sizeOf(file))) return false;
  const hash = contentHash(entry);
  if (typeof file.content === "string") hash.update(file.content);
  else for await (const chunk of createReadStream(file.content.file)) hash.update(chunk as Buffer);
  return hash.digest("hex") === (entry.lfs?.oid ?? entry.oid);
}

async function sizeOf({ content }: UploadFile): Promise<number> {
  return typeof content === "string" ? Buffer.byteLength(content) : (await stat(content.file)).size;
}

function uploadFailure(repository: HubRepository, env: NonNullable<ResolveOptions["env"]>, error: unknown): UserError {
  if (error instanceof UserError) return error;
  if (!(error instanceof HubApiError)) {
    const what = `The upload failed: ${messageOf(error)}.`;
    return problem(
      repository,
      "hub-upload-failed",
      what,
      "Check the network and push again: files that arrived are not sent again.",
      error,
    );
  }
  const { statusCode: status, message } = error;
  if (status === 401 || status === 403) {
    const fix = "Make a token with write access to it at https://huggingface.co/settings/tokens and set HF_TOKEN.";
    return problem(
      repository,
      "hub-no-write",
      `The access token may not write to this repository (HTTP ${status}: ${message})`,
      fix,
      error,
    );
  }
  if (status === 409 || status === 412) {
    const what = "Somebody else has committed to this repository during the upload. Nothing of theirs was changed.";
    return problem(
      repository,
      "hub-moved",
      what,
      "Look at their commit, then push again: the files are compared with the new state.",
      error,
    );
  }
  return hubFailure(repository, env, error).problem;
}

function noToken(repository: HubRepository): UserError {
  const fix = "Set HF_TOKEN to a token with write access (https://huggingface.co/settings/tokens), or log in with Hugging Face's own tool.";
  return problem(repository, "hub-no-token", "An upload needs an access token, and there is none.", fix);
}

type UploadCode = "hub-not-cached" | "hub-no-token" | "hub-no-write" | "hub-moved" | "hub-upload-failed";

function problem(repository: HubRepository, code: UploadCode, what: string, fix: string, cause?: unknown): UserError {
  return repositoryProblem(repository, { code, what, fix, cause });
}

/** A repository named "org/name". */
export function modelRepository(id: string): HubRepository {
  if (isRepositoryName(id)) return { type: "model", name: id, revision: "main" };
  throw new CheckpointError({
    code: "share-bad-name",
    what: "This is not the name of a repository on the hub.",
    where: id,
    fix: "Write it as org/name, for example flock/goose-pool.",
  });
}
