/** @file A pool: experts over one base model, in order (the order is the expert index), as a folder with a lockfile.
 *
 *    pool.json   the lockfile (adapters/pool-file.ts)
 *    experts/    the folders of experts that were copied in
 *
 *  Opening compares every expert with its hash. A changed or missing expert is an error that names it. The hash covers the files that
 *  determine what an expert computes, not its model card. Weights are read later, one expert at a time. */

import { copyFile, readdir, readFile, rename, rm } from "node:fs/promises";
import { basename, isAbsolute, join, relative, resolve, sep } from "node:path";
import type { Expert } from "../adapters/expert.ts";
import { BOTTLENECK_FILE, TENSOR_FILE } from "../adapters/file-names.ts";
import type { ModuleSizes } from "../adapters/modules.ts";
import {
  checkExpertName,
  entryOf,
  POOL_FILE,
  POOL_VERSION,
  type PoolBase,
  type PoolEntry,
  type PoolFile,
  parsePool,
} from "../adapters/pool-file.ts";
import { PoolError } from "../base/errors.ts";
import { inParallel } from "../base/in-parallel.ts";
import { makeFolder, writeFileAtomically, writing } from "../checkpoint/atomic.ts";
import { isBottleneckFolder } from "./bottleneck.ts";
import { expertFrom } from "./expert.ts";
import { Desk, ExpertFiles, HASHED_FILES, hashOfFiles } from "./expert-files.ts";
import { exists, fileHash, realPath } from "./files.ts";
import { openAdapter } from "./peft.ts";

/** The local folder of an expert from the hub. */
export type HubResolver = (id: string, revision: string) => Promise<string>;

/** A pool that was opened: its experts were verified, and are read when they are asked for. */
export interface Pool {
  readonly directory: string;
  readonly base: PoolBase;
  /** In expert order. */
  readonly experts: readonly PoolEntry[];
  /** Opens one expert, by index or name. Its numbers stay in its files until they are used, so the files must not change. */
  load(expert: number | string): Promise<Expert>;
  /** Opens all experts, in order. */
  loadAll(): Promise<Expert[]>;
}

/** Which base a pool must belong to, and where experts of the Hub lie. */
export interface OpenPoolOptions {
  /** The base model's fingerprint. A pool for another base is refused. */
  readonly fingerprint?: string;
  readonly resolveHub?: HubResolver;
  /** Whether all experts are compared with their hashes at once, or each one when its numbers are read. Default "now". */
  readonly verify?: "now" | "when read";
}

/** Refuses a folder that holds a pool already. Call it before long work whose result is written there. */
export async function refusePool(directory: string): Promise<void> {
  if (await exists(join(directory, POOL_FILE))) {
    throw new PoolError({
      code: "pool-exists",
      data: { pool: directory },
      what: "There is a pool here already.",
      where: directory,
      fix: "Add experts to it, or choose another folder.",
    });
  }
}

/** Creates a pool for a base model: empty, or with the named experts, whose folders are in experts/ already.
 *  @throws PoolError where there is a pool already, or for a name that no expert can have. */
export async function createPool(directory: string, base: PoolBase, experts: readonly string[] = []): Promise<void> {
  await refusePool(directory);
  await makeFolder(join(directory, "experts"));
  const entries: PoolEntry[] = [];
  for (const name of experts) {
    checkExpertName(name, directory);
    entries.push({ name, path: `experts/${name}`, sha256: await expertHash(join(directory, "experts", name)) });
  }
  await writePool(directory, { version: POOL_VERSION, base, experts: entries });
}

/** The contents of pool.json. The experts themselves are not checked.
 *  @throws PoolError where there is no pool, or pool.json cannot be read. */
export async function listPool(directory: string): Promise<PoolFile> {
  const where = join(directory, POOL_FILE);
  const text = await readFile(where, "utf8").catch((cause: unknown) => {
    throw new PoolError({
      code: "pool-not-found",
      data: { pool: directory },
      what: "There is no pool here: pool.json is missing.",
      where: directory,
      fix: "Make one with createPool.",
      cause,
    });
  });
  return parsePool(text, directory);
}

/** What an expert is called in the pool, and where its files stay. */
export interface AddExpertOptions {
  /** Default: the folder's name. */
  readonly name?: string;
  /** Record the expert's present folder, which must be inside the pool's folder, instead of copying it to experts/. */
  readonly reference?: boolean;
  /** The hub repository it came from. It is recorded instead of a path, and nothing is copied. */
  readonly hub?: { readonly id: string; readonly revision: string };
}

/** Adds an expert folder as the pool's last.
 *  @throws PoolError for a name that is taken or a place outside the pool's folder, AdapterError for a folder that is no expert. */
export async function addExpert(directory: string, source: string, options: AddExpertOptions = {}): Promise<PoolEntry> {
  const pool = await listPool(directory);
  const name = options.name ?? basename(resolve(source));
  checkExpertName(name, directory);
  if (pool.experts.some((entry) => entry.name === name)) {
    throw new PoolError({
      code: "pool-expert-exists",
      data: { expert: name },
      what: `The pool already has an expert "${name}".`,
      where: directory,
      fix: "Give another name, or remove the old one first.",
    });
  }
  const adapter = (await isBottleneckFolder(source)) ? source : (await openAdapter(source)).directory;
  const sha256 = await expertHash(adapter);
  const place = options.hub
    ? { hub: options.hub.id, revision: options.hub.revision }
    : { path: options.reference ? await insidePath(directory, adapter) : await copiedIn(directory, adapter, name) };
  const entry: PoolEntry = { name, ...place, sha256 };
  await writePool(directory, { ...pool, experts: [...pool.experts, entry] });
  return entry;
}

/** Removes an expert; the indices of later experts decrease by one. A copied folder is deleted, a referenced one is kept.
 *  @throws PoolError for a name that the pool does not have. */
export async function removeExpert(directory: string, name: string): Promise<void> {
  const pool = await listPool(directory);
  const entry = entryOf(pool.experts, name, directory);
  await writePool(directory, { ...pool, experts: pool.experts.filter((other) => other !== entry) });
  if (entry.path === `experts/${name}`) await rm(join(directory, "experts", name), { recursive: true, force: true });
}

/** Records the new hash of an expert in the pool's folder after an intended change of its files, such as newly trained gates. */
export async function recordExpert(directory: string, name: string): Promise<void> {
  const pool = await listPool(directory);
  const entry = entryOf(pool.experts, name, directory);
  const sha256 = await expertHash(await folderOf(directory, entry, undefined));
  await writePool(directory, { ...pool, experts: pool.experts.map((other) => (other === entry ? { ...entry, sha256 } : other)) });
}

/** Opens a pool for a base model with these modules and verifies every expert against pool.json.
 *  @throws PoolError for a pool of another base, and for an expert that is missing or has changed; it names the expert.
 *  @example
 *  import { loadModel, openPool } from "skein";
 *  import { openMethod, parsedMethod } from "skein/routing";
 *
 *  const model = await loadModel("assets/demo-base");
 *  const { base, runner } = model;
 *  const pool = await openPool("my-pool", base.modules, { fingerprint: await base.fingerprint() });
 *  const woven = await openMethod({ base, runner, experts: await pool.loadAll() }, parsedMethod("phatgoose"));
 *  console.log(model.withWoven(woven).woven.experts); // [ "opposites" ]
 *  await model.dispose(); */
export async function openPool(
  directory: string,
  modules: ModuleSizes,
  { fingerprint, resolveHub, verify = "now" }: OpenPoolOptions = {},
): Promise<Pool> {
  const { base, experts } = await listPool(directory);
  if (fingerprint !== undefined && base.fingerprint !== undefined && base.fingerprint !== fingerprint) {
    throw new PoolError({
      code: "pool-other-base",
      data: { base: base.name, expected: base.fingerprint, got: fingerprint },
      what: `The pool was made for another base model: "${base.name}" with fingerprint ${base.fingerprint}; this base has ${fingerprint}.`,
      where: join(directory, POOL_FILE),
      fix: `Load "${base.name}", or make a pool for this base model.`,
    });
  }
  const desk = new Desk();
  const folders = new Map(
    await inParallel(experts, async (entry) => [entry.name, await filesOf(directory, entry, resolveHub, desk)] as const),
  );
  if (verify === "now") await inParallel(experts, (entry) => checkHash(directory, entry, folders.get(entry.name)!.folder));
  const load = async (which: number | string) => {
    const entry = typeof which === "string" ? entryOf(experts, which, directory) : experts[which];
    const files = entry && folders.get(entry.name);
    if (!entry || !files) {
      throw new PoolError({
        code: "pool-expert-unknown",
        data: { expert: String(which), known: experts.map(({ name }) => name) },
        what: `There is no expert ${which}: the pool has ${experts.length}.`,
        where: directory,
        fix: "Count from 0.",
      });
    }
    const options = { name: entry.name, ...(base.fingerprint && { fingerprint: base.fingerprint }) };
    const expert = await expertFrom(files.open, files.folder, modules, options);
    return { ...expert, source: { adapter: expert.adapter, sha256: entry.sha256 } };
  };
  const loadAll = async () => {
    const loaded: Expert[] = []; // one after another, so that the files of each are on the desk once
    for (const { name } of experts) loaded.push(await load(name));
    return loaded;
  };
  return { directory, base, experts, load, loadAll };
}

async function checkHash(directory: string, entry: PoolEntry, folder: string): Promise<void> {
  if ((await expertHash(folder)) !== entry.sha256) throw changedExpert(directory, entry, folder);
}

/** The files of an expert. That they are unchanged is checked when they are read. */
async function filesOf(directory: string, entry: PoolEntry, resolveHub: HubResolver | undefined, desk: Desk): Promise<ExpertFiles> {
  const folder = await folderOf(directory, entry, resolveHub);
  if (!(await exists(join(folder, TENSOR_FILE))) && !(await exists(join(folder, BOTTLENECK_FILE)))) {
    throw new PoolError({
      code: "pool-expert-missing",
      data: { pool: directory, expert: entry.name },
      what: `Expert "${entry.name}" is missing.`,
      where: folder,
      fix: "Restore its folder, or take it out with removeExpert.",
    });
  }
  const changed = (cause?: unknown) => changedExpert(directory, entry, folder, cause);
  return new ExpertFiles(folder, { sha256: entry.sha256, changed, desk });
}

function changedExpert(directory: string, { name }: PoolEntry, folder: string, cause?: unknown): PoolError {
  return new PoolError({
    code: "pool-expert-changed",
    data: { pool: directory, expert: name },
    what: `Expert "${name}" changed since it was added: its files no longer have the SHA-256 in pool.json.`,
    where: folder,
    fix: "Restore its files, or remove it and add it again.",
    cause,
  });
}

async function folderOf(directory: string, { name, path, hub, revision }: PoolEntry, resolveHub: HubResolver | undefined): Promise<string> {
  if (path !== undefined) return resolve(directory, await insidePath(directory, resolve(directory, path)));
  if (hub !== undefined && revision !== undefined && resolveHub) return resolveHub(hub, revision);
  throw new PoolError({
    code: "pool-expert-remote",
    data: { expert: name, repository: hub ?? "", revision: revision ?? "" },
    what: `Expert "${name}" is on the hub (${hub}).`,
    where: directory,
    fix: "Download it, and open the pool with `resolveHub`, which gives its folder.",
  });
}

/** `path` relative to the pool, with "/" between names; a path outside it, directly or by a symbolic link, is refused. */
async function insidePath(directory: string, path: string): Promise<string> {
  const real = (await exists(path)) ? realPath : resolve; // a missing expert is reported later, by name
  const inside = relative(await real(directory), await real(path));
  if (inside !== "" && !isAbsolute(inside) && inside.split(sep)[0] !== "..") return inside.split(sep).join("/");
  throw new PoolError({
    code: "pool-expert-outside",
    data: { pool: directory },
    what: `"${path}" lies outside the pool's folder.`,
    where: directory,
    fix: "Copy the expert in (the default), or move it into the pool's folder.",
  });
}

/** Copies an expert's files into the pool, under a temporary name first, so that an incomplete copy is never taken for an expert.
 *  Subfolders (training checkpoints) and pickles are not copied. */
async function copiedIn(directory: string, source: string, name: string): Promise<string> {
  const [target, partial] = [join(directory, "experts", name), join(directory, "experts", `.${name}.partial`)];
  if (await exists(target)) {
    const what = `experts/${name} is there already, but pool.json does not list it.`;
    throw new PoolError({
      code: "pool-leftover",
      data: { folder: target },
      what,
      where: target,
      fix: "Remove that folder, or add it with reference: true.",
    });
  }
  await rm(partial, { recursive: true, force: true });
  await makeFolder(partial);
  try {
    for (const entry of await readdir(source, { withFileTypes: true })) {
      if (entry.isDirectory() || PICKLE.test(entry.name)) continue;
      const copy = join(partial, entry.name);
      await writing(copy, () => copyFile(join(source, entry.name), copy));
    }
    await writing(target, () => rename(partial, target));
  } catch (error) {
    await rm(partial, { recursive: true, force: true }).catch(() => undefined); // the first failure is the one to report
    throw error;
  }
  return `experts/${name}`;
}
const PICKLE = /\.(?:bin|pt|pth|pkl|pickle|ckpt)$/;

/** SHA-256 over the names and SHA-256 of the files that determine what an expert computes. */
export async function expertHash(folder: string): Promise<string> {
  const hashes = new Map<string, string>();
  for (const name of HASHED_FILES) {
    const path = join(folder, name);
    if (await exists(path)) hashes.set(name, await fileHash(path));
  }
  return hashOfFiles(hashes);
}

/** Verifies every expert in the pool's folder against pool.json.
 *  @throws PoolError that names the expert that is missing or has changed. */
export async function verifyPool(directory: string): Promise<void> {
  const { experts } = await listPool(directory);
  const desk = new Desk();
  for (const entry of experts) {
    if (entry.path === undefined) continue;
    const { folder } = await filesOf(directory, entry, undefined, desk);
    await checkHash(directory, entry, folder);
  }
}

async function writePool(directory: string, pool: PoolFile): Promise<void> {
  await writeFileAtomically(join(directory, POOL_FILE), `${JSON.stringify(pool, null, 2)}\n`);
}
