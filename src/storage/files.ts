/** @file Small file functions. Those on single names and small texts block: that takes less time than a way through the event loop, and a pool
 *  makes thousands of calls. */

import { createHash } from "node:crypto";
import { createReadStream, existsSync, readFileSync, realpathSync } from "node:fs";
import { pipeline } from "node:stream/promises";

/** Whether the path exists. */
export async function exists(path: string): Promise<boolean> {
  return existsSync(path);
}

/** The text of a small file. */
export async function readText(path: string): Promise<string> {
  return readFileSync(path, "utf8");
}

/** The path with its links followed. */
export async function realPath(path: string): Promise<string> {
  return realpathSync.native(path);
}

/** SHA-256 of a file's bytes, in hexadecimal. */
export async function fileHash(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}
