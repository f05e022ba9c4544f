/** @file Finds a pool given as a folder or as a hub id `org/name[@revision]`. The hub's client is loaded only for an id. */

import { existsSync } from "node:fs";
import { isFolder } from "./cache.ts";
import { isHubId, type ResolveOptions } from "./resolve-model.ts";

/** The folder of a pool: `idOrPath` itself if it is a folder or no id, else the cached or downloaded snapshot of "org/name[@revision]". */
export async function resolvePool(idOrPath: string, options: ResolveOptions = {}): Promise<string> {
  if ((await isFolder(idOrPath)) || !isHubId(idOrPath) || isLocal(idOrPath)) return idOrPath;
  const { downloadPool } = await import("./pool.ts");
  return (await downloadPool(idOrPath, options)).folder;
}

/** Whether a path begins with a folder that exists: its mistyped end is not looked for on the hub. */
export function isLocal(path: string): boolean {
  return existsSync(path.split("/")[0]!);
}
