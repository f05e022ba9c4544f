/** @file Atomic writes: a file is written completely or not at all.
 *
 *  The bytes go to a temporary file in the target's folder. The file is flushed to the disk and then renamed to the target's name.
 *  A reader sees the old file or the new one, and a failure leaves the old file as it was. */

import { randomUUID } from "node:crypto";
import { access, constants, type FileHandle, mkdir, open, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { CheckpointError, messageOf, UserError } from "../base/errors.ts";

// One write call takes less than 2 GiB; smaller pieces also let other work run in between.
const PIECE = 64 * 2 ** 20;

const FIXES: Readonly<Record<string, string>> = {
  ENOSPC: "Free some space on this disk or write to another one; the old file, if there was one, is untouched.",
  EDQUOT: "The quota on this disk is used up: free some space or write elsewhere; the old file, if there was one, is untouched.",
  EACCES: "Give yourself permission to write here, or choose another place.",
  EPERM: "Give yourself permission to write here, or choose another place.",
  EROFS: "This disk is read-only: choose another folder.",
  ENOTDIR: "A part of this path is a file: choose another folder.",
  EEXIST: "A part of this path is a file: choose another folder.",
  EISDIR: "A folder already has this name: choose another file name.",
  EIO: "The disk reports a failure: check it, or write to another one.",
  ENAMETOOLONG: "Choose a shorter file name.",
};

/** The `code` of a file system error ("ENOENT"), or "" for anything else. */
export function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
}

/** Calls `write` with a new file and renames that file to `path` when `write` is done. Creates missing parent folders. */
export async function replaceFile(path: string, write: (handle: FileHandle) => Promise<void>): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomUUID().slice(0, 8)}.partial`);
  try {
    await folderMade(dirname(path));
    const handle = await open(temporary, "wx");
    try {
      await write(handle);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
    await syncFolder(dirname(path));
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined); // the first failure is the one to report
    throw asWriteProblem(error, path);
  }
}

/** Turns a file system's error at `path` into a UserError; returns any other error unchanged. */
export function asWriteProblem(error: unknown, path: string): unknown {
  const fix = FIXES[codeOf(error)];
  if (error instanceof UserError || fix === undefined) return error;
  return new CheckpointError({
    code: "output-failed",
    what: `Could not write the file: ${messageOf(error)}.`,
    where: path,
    fix,
    cause: error,
  });
}

/** Calls `work`, which writes at `path`. An error of the file system becomes a UserError. */
export async function writing<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw asWriteProblem(error, path);
  }
}

/** Creates a folder and its parents. */
export async function makeFolder(path: string): Promise<void> {
  await writing(path, () => folderMade(path));
}

/** `mkdir` with `recursive` does not work here: if an existing folder refuses new ones with ENOENT (a deleted working directory,
 *  /proc), Node repeats the call forever. */
async function folderMade(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined); // absent; if not, mkdir reports the problem
  if (found?.isDirectory()) return;
  if (dirname(path) !== path) await folderMade(dirname(path));
  await mkdir(path).catch((cause: unknown) => {
    if (codeOf(cause) === "EEXIST" && !found) return; // someone else has just made it
    if (codeOf(cause) !== "ENOENT") throw cause;
    const fix = "Choose another folder; if you are in one that was deleted, change to one that exists.";
    throw new CheckpointError({ code: "output-failed", what: `The folder cannot be made: ${messageOf(cause)}.`, where: path, fix, cause });
  });
}

/** Checks before long work that results can be written to this folder. Creates nothing. */
export async function checkFolder(path: string): Promise<void> {
  for (let at = resolve(path); ; at = dirname(at)) {
    const found = await stat(at).catch(() => undefined); // absent: it will be made in the folder above
    if (found?.isDirectory()) return writing(at, () => access(at, constants.W_OK));
    if (found) {
      throw new CheckpointError({
        code: "output-in-the-way",
        what: "There is a file where a folder is to be written.",
        where: at,
        fix: "Choose another folder.",
      });
    }
    if (at === dirname(at)) return;
  }
}

/** Checks before long work that this file can be replaced or, with `appends`, extended. Creates nothing. */
export async function checkFile(path: string, { appends = false } = {}): Promise<void> {
  const found = await stat(path).catch(() => undefined); // absent; the check of the parent folders reports other problems
  if (found?.isDirectory()) {
    const fix = "Choose another file name.";
    throw new CheckpointError({ code: "output-in-the-way", what: "There is a folder where a file is to be written.", where: path, fix });
  }
  if (found && appends) await writing(path, () => access(path, constants.W_OK));
  await checkFolder(dirname(resolve(path)));
}

/** Replaces the file `path` by `data`: UTF-8 text or bytes. */
export async function writeFileAtomically(path: string, data: string | Uint8Array): Promise<void> {
  const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
  await replaceFile(path, (handle) => writeAll(handle, bytes));
}

/** Appends all of `bytes`, of any length. */
export async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, at, Math.min(PIECE, bytes.length - at));
    at += bytesWritten;
  }
}

/** Flushes the folder, so that a rename survives a power failure. Windows has no such call for folders and needs none. */
async function syncFolder(folder: string): Promise<void> {
  if (process.platform === "win32") return;
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
