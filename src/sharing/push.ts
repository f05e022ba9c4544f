/** @file Pushes a pool or an expert to the hub, and pulls one from it. */

import { randomUUID } from "node:crypto";
import { cp, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { POOL_FILE } from "../adapters/pool-file.ts";
import { OptionError } from "../base/errors.ts";
import { makeFolder, writeFileAtomically, writing } from "../checkpoint/atomic.ts";
import { downloadAdapter, downloadPool } from "../hub/pool.ts";
import type { ResolveOptions } from "../hub/resolve-model.ts";
import { modelRepository, type Uploaded, uploadFiles } from "../hub/upload.ts";
import { exists } from "../storage/files.ts";
import { verifyPool } from "../storage/pool.ts";
import { type ShareOptions, shareFiles } from "./share-files.ts";

/** The options of `push`. */
export interface PushOptions extends Omit<ShareOptions, "repository">, ResolveOptions {
  /** Make a new repository private. */
  readonly private?: boolean | undefined;
  /** Only list what would go. */
  readonly dryRun?: boolean | undefined;
  readonly onCommit?: (done: number, total: number) => void;
  readonly sleep?: (milliseconds: number) => Promise<unknown>;
}

/** What `push` sent, or would send. */
export interface Pushed extends Uploaded {
  readonly repository: string;
  readonly kind: "pool" | "expert";
}

/** Uploads the pool or expert in `folder` to the repository "org/name". A push that was stopped goes on where it stopped.
 *  @throws CheckpointError without a license, a token that may write, or an id of the base; when somebody else committed meanwhile; and
 *  when the network fails for good. */
export async function push(folder: string, repository: string, options: PushOptions = {}): Promise<Pushed> {
  const target = modelRepository(repository);
  const { license, base, datasets, results, private: isPrivate, dryRun, ...rest } = options;
  const { kind, files, last } = await shareFiles(folder, { repository, license, base, datasets, results });
  const uploaded = await uploadFiles(target, files, {
    ...rest,
    ...(isPrivate !== undefined && { private: isPrivate }),
    ...(dryRun !== undefined && { dryRun }),
    title: `Upload ${kind} with Skein`,
    last,
    deletes: (path) => kind === "pool" && path.startsWith("experts/"),
  });
  return { repository, kind, ...uploaded };
}

/** What `pull` fetched. */
export interface Pulled {
  readonly repository: string;
  /** The commit that was fetched; "org/name@commit" gives the same files again. */
  readonly commit: string;
  readonly kind: "pool" | "expert";
  readonly folder: string;
}

/** Downloads the pool or adapter "org/name[@revision]" into the cache, checks every hash, and copies it to `out`, if given.
 *  @throws CheckpointError for what the hub does not give out, PoolError for an expert that is not what pool.json says, OptionError where
 *  `out` is not empty. */
export async function pull(id: string, out?: string, options: ResolveOptions = {}): Promise<Pulled> {
  if (out !== undefined) await refuseFull(out);
  const { kind, repository, commit, folder } = await fetched(id, options);
  if (kind === "pool") await verifyPool(folder);
  if (out === undefined) return { repository, commit, kind, folder };
  const partial = join(dirname(resolve(out)), `.${basename(resolve(out))}.${randomUUID().slice(0, 8)}.partial`);
  try {
    await makeFolder(partial);
    await writing(partial, () => cp(folder, partial, { recursive: true, dereference: true }));
    await writeFileAtomically(join(partial, ORIGIN), `${JSON.stringify({ repository, commit }, null, 2)}\n`);
    await rm(out, { recursive: true, force: true }); // an empty folder
    await writing(out, () => rename(partial, out));
  } catch (error) {
    await rm(partial, { recursive: true, force: true }).catch(() => undefined); // the first failure is the one to report
    throw error;
  }
  return { repository, commit, kind, folder: out };
}

/** Where a pulled folder came from. */
const ORIGIN = "hub.json";

async function fetched(id: string, options: ResolveOptions) {
  try {
    const found = await downloadPool(id, options);
    if (await exists(join(found.folder, POOL_FILE))) return { kind: "pool" as const, ...found };
  } catch (error) {
    if (!(error instanceof Error && "code" in error && (error.code === "hub-not-found" || error.code === "checkpoint-not-found")))
      throw error;
  }
  return { kind: "expert" as const, ...(await downloadAdapter(id, options)) };
}

async function refuseFull(out: string): Promise<void> {
  const names = await readdir(out).catch(() => []); // absent
  if (names.length === 0) return;
  throw new OptionError({
    code: "option-conflict",
    data: { options: ["out"] },
    what: "The folder to write is not empty.",
    where: out,
    fix: "Name another folder, or empty this one.",
  });
}
