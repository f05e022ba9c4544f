/** @file Makes and extends pools with their base model: every expert is checked against the base before anything is written. */

import { randomUUID } from "node:crypto";
import { rm, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import type { PoolEntry } from "../adapters/pool-file.ts";
import { OptionError, PoolError } from "../base/errors.ts";
import { isLocal } from "../hub/resolve-pool.ts";
import { checkKinds, type NamedKind } from "../routing/stack.ts";
import { checkAdapter } from "../storage/check.ts";
import { convertPeft, isPickledAdapter } from "../storage/convert-peft.ts";
import { loadExpert } from "../storage/expert.ts";
import { exists } from "../storage/files.ts";
import { type AddExpertOptions, addExpert, createPool, listPool } from "../storage/pool.ts";
import { type Base, openBase } from "./base.ts";

export interface Added {
  readonly entries: readonly PoolEntry[];
  readonly warnings: readonly string[];
}

interface Checked {
  readonly fingerprint: string;
  readonly kinds: readonly NamedKind[];
  readonly warnings: readonly string[];
}

/** Makes a pool for the base model (a folder or hub id) and adds experts, in order: folders, or adapters on the hub. */
export async function createPoolOf(directory: string, base: string, sources: readonly string[]): Promise<Added> {
  const opened = await openBase(base);
  const experts = await expertPlaces(sources, false);
  const checked = await checkedExperts(opened, experts);
  checkKinds(checked.kinds, directory);
  await createPool(directory, { name: base, fingerprint: checked.fingerprint });
  return { entries: await addAll(directory, experts, {}), warnings: checked.warnings };
}

/** An expert to add: its folder, and its name if that is not the folder's. */
interface ExpertPlace {
  readonly folder: string;
  readonly name?: string;
}

/** The folders of experts. What is no folder here is an adapter on the hub, "org/name[/folder][@revision]", which is downloaded. */
async function expertPlaces(sources: readonly string[], pickles: boolean): Promise<ExpertPlace[]> {
  const places: ExpertPlace[] = [];
  for (const source of sources) {
    if ((await exists(source)) || !ADAPTER_ID.test(source) || isLocal(source)) places.push({ folder: source });
    else {
      const { downloadAdapter } = await import("../hub/pool.ts"); // loads the hub's client
      places.push(await downloadAdapter(source, { pickles }));
    }
  }
  return places;
}
const ADAPTER_ID = /^[\w-][\w.-]*(?:\/[\w-][\w.-]*)+(?:@[\w][\w./-]*)?$/;

/** Adds experts at the end of the pool: folders, or adapters on the hub. `base`: the place of its base model, if pool.json has another place. */
export async function addToPool(
  directory: string,
  sources: readonly string[],
  options: Pick<AddExpertOptions, "name" | "reference"> & { readonly base?: string } = {},
): Promise<Added> {
  await listPool(directory); // before anything is downloaded
  return addPlaces(directory, await expertPlaces(sources, false), options);
}

async function addPlaces(
  directory: string,
  experts: readonly ExpertPlace[],
  { base, ...options }: NonNullable<Parameters<typeof addToPool>[2]>,
): Promise<Added> {
  if (options.name !== undefined && experts.length > 1) {
    throw new OptionError({
      code: "option-count",
      data: { option: "name", expected: 1, got: experts.length },
      what: `One name for ${experts.length} experts.`,
      where: "name",
      fix: "Add the experts one by one, or omit the name.",
    });
  }
  const pool = await listPool(directory);
  const checked = await checkedExperts(await openBase(base ?? pool.base.name), experts);
  if (pool.base.fingerprint !== undefined && checked.fingerprint !== pool.base.fingerprint) {
    throw new PoolError({
      code: "pool-other-base",
      data: { base: pool.base.name, expected: pool.base.fingerprint, got: checked.fingerprint },
      what: `The pool was made for another base model: expected fingerprint ${pool.base.fingerprint}, got ${checked.fingerprint}.`,
      where: directory,
      fix: `Give the base model it was made for ("${pool.base.name}"), or make a pool for this one.`,
    });
  }
  const [first] = pool.experts;
  checkKinds([...(first ? await kindIn(directory, first) : []), ...checked.kinds], directory);
  return { entries: await addAll(directory, experts, options), warnings: checked.warnings };
}

/** Adds experts, and converts adapters that are stored only as pickles. */
export async function addConverted(
  directory: string,
  experts: readonly string[],
  options: Parameters<typeof addToPool>[2] = {},
): Promise<Added> {
  await listPool(directory);
  const temporary = join(directory, `.converted-${randomUUID().slice(0, 8)}`);
  try {
    const places: ExpertPlace[] = [];
    for (const place of await expertPlaces(experts, true)) {
      if (!(await isPickledAdapter(place.folder))) places.push(place);
      else {
        const folder = await folderOf(place.folder);
        const { directory: converted } = await convertPeft(
          place.folder,
          options.reference ? folder : join(temporary, place.name ?? basename(folder)),
        );
        places.push({ ...place, folder: converted });
      }
    }
    return await addPlaces(directory, places, options);
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

/** The adapter of a .bin file is the folder that contains it. */
async function folderOf(source: string): Promise<string> {
  return (await stat(source)).isFile() ? dirname(resolve(source)) : resolve(source);
}

/** The kind of an expert that is already in the pool; undefined if its folder cannot be read here. */
async function kindIn(directory: string, { name, path }: PoolEntry): Promise<NamedKind[]> {
  if (path === undefined) return [];
  const { kind } = await checkAdapter(resolve(directory, path));
  return kind === undefined ? [] : [{ name, kind }];
}

async function checkedExperts({ modules, fingerprint }: Base, experts: readonly ExpertPlace[]): Promise<Checked> {
  const print = await fingerprint();
  const kinds: NamedKind[] = [];
  const warnings: string[] = [];
  for (const { folder, name } of experts) {
    const expert = await loadExpert(folder, modules, { fingerprint: print, ...(name !== undefined && { name }) });
    kinds.push({ name: expert.name, kind: expert.adapter.kind });
    warnings.push(...expert.warnings.map((warning) => `${expert.name}: ${warning}`));
  }
  return { fingerprint: print, kinds, warnings };
}

async function addAll(directory: string, experts: readonly ExpertPlace[], options: AddExpertOptions): Promise<PoolEntry[]> {
  const entries: PoolEntry[] = [];
  for (const { folder, name } of experts)
    entries.push(await addExpert(directory, folder, { ...(name !== undefined && { name }), ...options }));
  return entries;
}
