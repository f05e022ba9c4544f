/** @file For tests: a folder of files that is deleted after the tests of a file. */

import { mkdtempSync, rmSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll } from "vitest";

/** Writes files into a new folder; `write` returns the path. */
export function temporaryFolder(): { folder: string; write: (name: string, content: string | Uint8Array) => Promise<string> } {
  const folder = mkdtempSync(join(tmpdir(), "skein-tasks-"));
  afterAll(() => rmSync(folder, { recursive: true }));
  return {
    folder,
    write: async (name, content) => {
      const path = join(folder, name);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, content);
      return path;
    },
  };
}

/** The reason of a promise's rejection. */
export async function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => "no error",
    (error: unknown) => error,
  );
}
