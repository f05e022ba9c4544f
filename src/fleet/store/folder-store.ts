/** @file A store in a folder that all machines of a farm share. A file is written under a temporary name, flushed, then renamed. */

import { createReadStream } from "node:fs";
import { copyFile, mkdir, readdir, readFile, rm, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { messageOf, TrainingError } from "../../base/errors.ts";
import { codeOf, replaceFile, writeAll } from "../../checkpoint/atomic.ts";
import { exists } from "../../storage/files.ts";
import type { Store } from "./store.ts";

const FULL = ["ENOSPC", "EDQUOT"];
const REFUSED = ["EACCES", "EPERM", "EROFS", "ENOTDIR"];
const AWAY = ["EIO", "ESTALE", "ETIMEDOUT", "EHOSTDOWN", "ENXIO", "ENODEV"];

/** Opens the folder. `creates`: makes it where only its last part is missing; without it a folder that is not mounted is an error. */
export async function openFolderStore(path: string, { creates = false } = {}): Promise<Store> {
  const root = resolve(path);
  const at = (name: string) => join(root, ...name.split("/"));
  const guarded = <T>(work: () => Promise<T>) => guard(root, work);
  if (creates) await guarded(() => mkdir(root).catch(unless("EEXIST")));
  const found = await guarded(() => stat(root).catch(unless("ENOENT")));
  if (!found?.isDirectory()) {
    throw new TrainingError({
      code: "store-refused",
      what: found ? "The store is a file, not a folder." : "The store's folder does not exist on this machine.",
      where: root,
      fix: "Mount the shared folder here under the same path, or correct the path.",
    });
  }
  const put = (name: string, write: Parameters<typeof replaceFile>[1]) => guarded(() => replaceFile(at(name), write));
  return {
    place: root,
    get: (name) => guarded(() => readFile(at(name)).catch(unless("ENOENT"))),
    put: (name, content) => put(name, (handle) => writeAll(handle, content)),
    getFile: (name, target) =>
      guarded(async () => {
        await mkdir(dirname(target), { recursive: true });
        return copyFile(at(name), target).then(() => true, unless("ENOENT", false));
      }),
    putFile: (name, source) =>
      put(name, async (handle) => {
        for await (const piece of createReadStream(source)) await writeAll(handle, piece as Uint8Array);
      }),
    has: (name) => exists(at(name)),
    remove: (name) => guarded(() => rm(at(name), { force: true })),
    list: (prefix) => guarded(() => namesBelow(root, prefix)),
    close: () => undefined,
  };
}

/** A handler that gives `value` for this code of an error, and throws any other error again. */
function unless<T = undefined>(code: string, value?: T): (error: unknown) => T {
  return (error) => {
    if (codeOf(error) === code) return value as T;
    throw error;
  };
}

async function namesBelow(root: string, prefix: string): Promise<string[]> {
  const folder = prefix.slice(0, prefix.lastIndexOf("/") + 1);
  const entries = await readdir(join(root, folder), { recursive: true, withFileTypes: true }).catch(unless("ENOENT", []));
  const names = entries.filter((entry) => entry.isFile() && !entry.name.startsWith("."));
  const relative = (path: string) => path.slice(root.length + 1).replaceAll("\\", "/");
  return names.map(({ parentPath, name }) => relative(join(parentPath, name))).filter((name) => name.startsWith(prefix));
}

async function guard<T>(root: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const code = codeOf(error) || codeOf(error instanceof Error ? error.cause : undefined);
    const common = { where: root, cause: error };
    if (FULL.includes(code))
      throw new TrainingError({ ...common, code: "store-full", what: "The store has no space left.", fix: "Free some space there." });
    if (REFUSED.includes(code)) {
      const fix = "Give this user permission to read and write in the store's folder.";
      throw new TrainingError({ ...common, code: "store-refused", what: `The store cannot be used: ${messageOf(error)}.`, fix });
    }
    if (AWAY.includes(code)) {
      const fix = "Check that the shared folder is mounted and its server runs.";
      throw new TrainingError({ ...common, code: "store-unreachable", what: `The store does not answer: ${messageOf(error)}.`, fix });
    }
    throw error;
  }
}
