/** @file The pool of a farm's experts. It appears whole: experts first, pool.json last. One that has these experts already stays as it is. */

import { cp, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { POOL_FILE, type PoolBase } from "../adapters/pool-file.ts";
import { makeFolder, writing } from "../checkpoint/atomic.ts";
import { MOA_FILE } from "../routing/moa-file.ts";
import { exists } from "../storage/files.ts";
import { addExpert, createPool, expertHash, listPool } from "../storage/pool.ts";

/** Makes `out` the pool of these expert folders, in order. `work` is a folder beside it for what is half done. */
export async function assemblePool(
  out: string,
  work: string,
  base: PoolBase,
  experts: readonly { name: string; folder: string }[],
): Promise<void> {
  const wanted = await Promise.all(experts.map(async ({ name, folder }) => `${name} ${await expertHash(folder)}`));
  if (await exists(join(out, POOL_FILE))) {
    const there = await listPool(out);
    const same = there.experts.map(({ name, sha256 }) => `${name} ${sha256}`).join() === wanted.join();
    if (same && there.base.fingerprint === base.fingerprint) return;
  }
  await rm(work, { recursive: true, force: true });
  await createPool(work, base);
  for (const { name, folder } of experts) await addExpert(work, folder, { name });
  await replacePool(out, work);
}

/** Puts a copy of the pool in `made` at `out`. */
export async function copyPool(out: string, made: string, work: string): Promise<void> {
  await rm(work, { recursive: true, force: true });
  await writing(work, () => cp(made, work, { recursive: true }));
  await replacePool(out, work);
}

async function replacePool(out: string, made: string): Promise<void> {
  await makeFolder(out);
  await rm(join(out, POOL_FILE), { force: true });
  const names = (await readdir(made)).sort((a, b) => Number(a === POOL_FILE) - Number(b === POOL_FILE)); // pool.json last
  // Routers of an earlier recipe would make another kind of pool of these experts.
  for (const name of [...names, MOA_FILE]) await rm(join(out, name), { recursive: true, force: true });
  for (const name of names) await writing(join(out, name), () => rename(join(made, name), join(out, name)));
  await rm(made, { recursive: true, force: true });
}
