/** @file Folders in a store. A tree lists files with their hashes, and is itself kept by its hash: equal folders have equal names. */

import { createHash } from "node:crypto";
import { readdir, rename, rm } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import * as z from "zod";
import { TrainingError } from "../../base/errors.ts";
import { makeFolder } from "../../checkpoint/atomic.ts";
import { exists, fileHash } from "../../storage/files.ts";
import type { Store } from "./store.ts";

/** A file of a tree: its path in the tree, with forward slashes, and its content. */
export interface TreeFile {
  readonly path: string;
  readonly sha256: string;
}
export type Tree = readonly TreeFile[];

/** No path may lead out of the folder that a tree is written to. */
const safePath = z
  .string()
  .refine((path) => path !== "" && path.split("/").every((part) => !["", ".", ".."].includes(part) && !part.includes("\\")));
const treeSchema = z.array(z.strictObject({ path: safePath, sha256: z.string().regex(/^[0-9a-f]{64}$/) }));

export const BLOBS = "blobs/";

/** Local files for a tree, by their paths in it. */
export type Files = ReadonlyMap<string, string>;

/** The files below a folder, by their paths in a tree, sorted. `keeps` says which. */
export async function filesBelow(folder: string, keeps: (path: string) => boolean = () => true): Promise<Map<string, string>> {
  if (!(await exists(folder))) return new Map();
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
  const named = paths.map((path): [string, string] => [relative(folder, path).split(sep).join("/"), path]);
  return new Map(named.filter(([path]) => keeps(path)).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Puts files into the store, those that are not there yet, and gives their tree. */
export async function putFiles(store: Store, files: Files, prefix = BLOBS): Promise<Tree> {
  const tree: TreeFile[] = [];
  for (const [path, local] of files) {
    const sha256 = await fileHash(local);
    if (!(await store.has(prefix + sha256))) await store.putFile(prefix + sha256, local);
    tree.push({ path, sha256 });
  }
  return tree;
}

/** Puts files and their list into the store; gives the tree's name. */
export async function putTree(store: Store, files: Files): Promise<string> {
  const text = new TextEncoder().encode(JSON.stringify(await putFiles(store, files)));
  const name = createHash("sha256").update(text).digest("hex");
  if (!(await store.has(BLOBS + name))) await store.put(BLOBS + name, text);
  return name;
}

/** Writes a tree's files below a folder, checked against their hashes. A file that is there with its content stays. */
export async function getFiles(store: Store, tree: Tree, folder: string, prefix = BLOBS): Promise<void> {
  for (const { path, sha256 } of treeSchema.parse(tree)) {
    const target = join(folder, ...path.split("/"));
    if ((await exists(target)) && (await fileHash(target)) === sha256) continue;
    const partial = `${target}.partial`;
    await makeFolder(join(target, ".."));
    const isThere = await store.getFile(prefix + sha256, partial);
    if (!isThere || (await fileHash(partial)) !== sha256) {
      await rm(partial, { force: true });
      throw damaged(store, prefix + sha256, path);
    }
    await rename(partial, target);
  }
}

/** Writes the tree of this name below a folder. */
export async function getTree(store: Store, name: string, folder: string): Promise<void> {
  const bytes = await store.get(BLOBS + name);
  if (!bytes || createHash("sha256").update(bytes).digest("hex") !== name) throw damaged(store, BLOBS + name, "a list of files");
  await makeFolder(folder);
  await getFiles(store, JSON.parse(new TextDecoder().decode(bytes)) as Tree, folder);
}

function damaged(store: Store, name: string, path: string): TrainingError {
  return new TrainingError({
    code: "store-damaged",
    what: `${name} (${path}) is missing in the store, or has another content than its name says.`,
    where: store.place,
    fix: "Remove this name and what is below done/ from the store, then run the farm again: it is made anew.",
  });
}
