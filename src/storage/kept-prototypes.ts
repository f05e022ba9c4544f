/** @file Prototypes that take long to compute from an adapter (arrow, spectr), kept on disk by the hash of the expert's files:
 *
 *    <cache>/<computation>/<SHA-256 of the expert>.safetensors    <module>: float32 [rows, in]
 *                                                                 metadata: { version, digest: SHA-256 of the numbers }
 *
 *    <cache> = $SKEIN_CACHE/prototypes, else skein/prototypes in the folder of Hugging Face's caches
 *
 *  A file that is damaged or of another version is made again. An expert that was made in memory has no hash, and nothing is kept. */

import { createHash } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Expert } from "../adapters/expert.ts";
import { messageOf, UserError } from "../base/errors.ts";
import { inParallel } from "../base/in-parallel.ts";
import type { HostTensor } from "../base/tensor.ts";
import { readWhole, type TensorInfo, writeSafetensors } from "../checkpoint/safetensors.ts";
import { storedTensor } from "../checkpoint/safetensors-bytes.ts";
import { type Environment, skeinCache } from "../hub/cache.ts";
import type { Router } from "../routing/router.ts";

const VERSION = "1";
type Prototypes = ReadonlyMap<string, HostTensor<"float32">>;

/** The folder of kept prototypes. */
export function prototypeCache(env: Environment = process.env): string {
  return join(skeinCache(env), "prototypes");
}

/** The router with the prototypes of these experts from disk. Those that are not there are computed and kept. */
export async function withKeptPrototypes(
  router: Router,
  experts: readonly Expert[],
  {
    env = process.env,
    onWarning = () => {},
  }: { readonly env?: Environment; readonly onWarning?: ((warning: string) => void) | undefined } = {},
): Promise<Router> {
  if (router.computation === undefined) return router;
  const folder = join(prototypeCache(env), router.computation);
  const kept = new WeakMap<Expert, Prototypes>();
  const missing: Expert[] = [];
  await inParallel(experts, async (expert) => {
    const found = expert.source?.adapter === expert.adapter ? await readKept(router, expert, fileOf(folder, expert)) : undefined;
    if (found) kept.set(expert, found);
    else missing.push(expert);
  });
  try {
    for (const expert of missing) {
      const { adapter, source } = expert;
      if (source?.adapter === adapter) await keep(router, expert, fileOf(folder, expert));
    }
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    onWarning(`The prototypes of router ${router.name} cannot be kept on disk, so they are computed each time: ${messageOf(error)}`);
  }
  return { ...router, prototype: (expert, module) => kept.get(expert)?.get(module) ?? router.prototype(expert, module) };
}

function fileOf(folder: string, { source }: Expert): string {
  return join(folder, `${source!.sha256}.safetensors`);
}

/** The prototypes in a file; undefined if it is absent, damaged, or not this expert's on this base. */
async function readKept(router: Router, expert: Expert, path: string): Promise<Prototypes | undefined> {
  const file = await readWhole(path).catch((error: unknown) => {
    if (error instanceof UserError) return undefined;
    throw error;
  });
  if (file?.metadata.version !== VERSION) return undefined;
  if (file.metadata.digest !== digestOf(new Map([...file.tensors].map(([name, info]) => [name, file.read(info)])))) return undefined;
  const modules = [...expert.adapter.modules.keys()];
  if (modules.some((module) => String(file.tensors.get(module)?.shape) !== String(router.prototype(expert, module)?.shape)))
    return undefined;
  const prototypes = [...file.tensors].map(([module, info]): [string, HostTensor<"float32">] => {
    const read = (to: Uint8Array) => {
      if (!readPart(info, to)) to.set(bytesOf(router.prototype(expert, module)!)); // the cache was cleared meanwhile
    };
    return [module, storedTensor(info, read)!];
  });
  return new Map(prototypes);
}

function readPart({ file, offset }: TensorInfo, to: Uint8Array): boolean {
  try {
    const descriptor = openSync(file, "r");
    try {
      return readSync(descriptor, to, 0, to.length, offset) === to.length;
    } finally {
      closeSync(descriptor);
    }
  } catch {
    return false;
  }
}

async function keep(router: Router, expert: Expert, path: string): Promise<void> {
  const prototypes = new Map<string, HostTensor<"float32">>();
  for (const module of expert.adapter.modules.keys()) {
    const prototype = router.prototype(expert, module);
    if (prototype) prototypes.set(module, prototype);
  }
  await writeSafetensors(path, prototypes, { metadata: { format: "pt", version: VERSION, digest: digestOf(prototypes) } });
}

function digestOf(tensors: ReadonlyMap<string, HostTensor>): string {
  const hash = createHash("sha256");
  for (const [name, tensor] of [...tensors].sort(([a], [b]) => (a < b ? -1 : 1)))
    hash.update(`${name} ${tensor.shape}\n`).update(bytesOf(tensor));
  return hash.digest("hex");
}

function bytesOf({ data }: HostTensor): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

export interface KeptPrototypes {
  readonly folder: string;
  readonly computation: string;
  readonly experts: number;
  readonly bytes: number;
}

/** What is kept for each computation. */
export async function keptPrototypes(env: Environment = process.env): Promise<KeptPrototypes[]> {
  const cache = prototypeCache(env);
  const computations = await readdir(cache).catch(() => []);
  return inParallel(computations, async (computation) => {
    const folder = join(cache, computation);
    const names = await readdir(folder);
    const sizes = await inParallel(names, async (name) => (await stat(join(folder, name))).size);
    return { folder, computation, experts: names.length, bytes: sizes.reduce((sum, size) => sum + size, 0) };
  });
}

/** Deletes all kept prototypes. They are computed again at the next use. */
export async function clearKeptPrototypes(env: Environment = process.env): Promise<KeptPrototypes[]> {
  const kept = await keptPrototypes(env);
  for (const { folder } of kept) await rm(folder, { recursive: true, force: true });
  return kept;
}
