/** @file Small file functions: whether a file exists, and its hash. */

import { createHash } from "node:crypto";
import { createReadStream, existsSync } from "node:fs";
import { pipeline } from "node:stream/promises";

/** Whether the path exists. The check blocks: that takes less time than one through the event loop, and a pool makes thousands. */
export async function exists(path: string): Promise<boolean> {
  return existsSync(path);
}

/** SHA-256 of a file's bytes, in hexadecimal. */
export async function fileHash(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}
