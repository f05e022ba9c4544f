/** @file Small file functions: whether a file exists, and its hash. */

import { createHash } from "node:crypto";
import { createReadStream, existsSync } from "node:fs";
import { pipeline } from "node:stream/promises";

/** The call blocks, since it takes less time than the event loop does for one that does not; a pool asks thousands of times. */
export async function exists(path: string): Promise<boolean> {
  return existsSync(path);
}

/** SHA-256 of a file's bytes, in hexadecimal. */
export async function fileHash(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}
