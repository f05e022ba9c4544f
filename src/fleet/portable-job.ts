/** @file A job as it travels to another machine. Its files are in the store, and stand in the job by the names of their trees:
 *
 *      tree:<sha256>/path    a file of a tree; without a path, its folder
 *      here:path             a path in the folder of the job
 *
 *  Data files, task files, experts and pools travel. The base, datasets and templates do not: each machine has them, or gets them from
 *  the Hub. A base is known by its fingerprint. */

import { readdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { isDataFile } from "../data/rows.ts";
import { isFolder } from "../hub/cache.ts";
import { packageVersion } from "../storage/version.ts";
import { type Job, type Keyed, VERSION } from "./job.ts";
import type { ExpertPlan } from "./recipe-file.ts";
import type { EvaluationPlan, Source } from "./recipe-schema.ts";
import { type Store, storeName } from "./store/store.ts";
import { type Files, filesBelow, putTree } from "./store/trees.ts";

export interface PortableJob {
  /** Of Skein, and of its jobs. */
  readonly version: string;
  /** The recipe's name. */
  readonly farm: string;
  readonly name: string;
  readonly key: string;
  readonly kind: Job["kind"];
  readonly base: { readonly name: string; readonly fingerprint: string };
  /** The name of the store with its files, and for its result. */
  readonly store: string;
  /** The job as JSON: a text, since a database may change the order of an object's fields. */
  readonly job: string;
  /** Only workers with this label take it. */
  readonly label?: string;
  readonly cancelled?: true;
}

/** Only machines with the same give the same results. */
export const farmVersion = (): string => `${packageVersion()} (jobs ${VERSION})`;

export interface PackOptions {
  readonly store: Store;
  readonly farm: string;
  readonly base: PortableJob["base"];
  readonly label?: string | undefined;
}

const TREE = /^tree:([0-9a-f]{64})((?:\/.*)?)$/;
const HERE = "here:";
/** The folder of a job's results that an evaluation keeps. */
export const CACHE = "cache";

/** A job with its files in the store. */
export async function packed({ job, key }: Keyed, { store, farm, base, label }: PackOptions): Promise<PortableJob> {
  const { name, kind } = job;
  const text = JSON.stringify(await packedPaths(job, store));
  const place = await storeName(store);
  return { version: farmVersion(), farm, name, key, kind, base, store: place, job: text, ...(label !== undefined && { label }) };
}

async function packedPaths(job: Job, store: Store): Promise<Job> {
  switch (job.kind) {
    case "expert":
    case "measure":
      return { ...job, expert: await packedExpert(job.expert, store) };
    case "moa": {
      const experts = [];
      for (const { plan, folder } of job.experts) {
        experts.push({ plan: await packedExpert(plan, store), folder: tree(await putTree(store, await filesBelow(folder))) });
      }
      return { ...job, experts };
    }
    case "evaluation": {
      const pool = await filesBelow(job.pool, (path) => path !== "report.html" && !path.startsWith("evaluation/"));
      return { ...job, pool: tree(await putTree(store, pool)), plan: await packedTasks(job.plan, store), cache: HERE + CACHE, runs: [] };
    }
  }
}

const tree = (name: string, path = "") => `tree:${name}${path && `/${path}`}`;

async function packedExpert(expert: ExpertPlan, store: Store): Promise<ExpertPlan> {
  const { source, validation } = expert;
  return { ...expert, source: await packedSource(source, store), validation: validation && (await packedSource(validation, store)) };
}

/** Each data file is a tree of its own: experts often share some. */
async function packedSource(source: Source, store: Store): Promise<Source> {
  if (!source.files) return source;
  const files: string[] = [];
  for (const path of source.files) files.push(tree(await putTree(store, new Map([[basename(path), path]])), basename(path)));
  return { ...source, files };
}

async function packedTasks(plan: EvaluationPlan, store: Store): Promise<EvaluationPlan> {
  const all = async (paths: readonly string[]) => {
    const found: string[] = [];
    for (const path of paths) {
      const isWhole = await isFolder(path);
      found.push(tree(await putTree(store, await filesOfTask(path, isWhole)), isWhole ? "" : basename(path)));
    }
    return found;
  };
  return { ...plan, ...(plan.tasks && { tasks: await all(plan.tasks) }), ...(plan.heldOut && { heldOut: await all(plan.heldOut) }) };
}

/** A task's file; a YAML may include others of its folder, and name data files there. */
async function filesOfTask(path: string, isWhole: boolean): Promise<Files> {
  if (isWhole) return filesBelow(path);
  if (!/\.ya?ml$/.test(path)) return new Map([[basename(path), path]]);
  const names = (await readdir(dirname(path))).filter((name) => /\.ya?ml$/.test(name) || isDataFile(name)).sort();
  return new Map(names.map((name) => [name, join(dirname(path), name)]));
}

export interface Unpacking {
  /** The base's folder on this machine. */
  readonly base: string;
  /** The folder of datasets on this machine, in place of the farm's. */
  readonly dataFolder?: string | undefined;
  /** The folder of the job. */
  readonly folder: string;
  /** The folder with a tree's files. */
  readonly treeFolder: (name: string) => Promise<string>;
}

/** The job with paths of this machine. */
export async function unpacked({ job: text }: PortableJob, { base, dataFolder, folder, treeFolder }: Unpacking): Promise<Job> {
  const folders = new Map<string, string>();
  for (const name of treesOf(text)) folders.set(name, await treeFolder(name));
  const job = JSON.parse(text, (_, value: unknown) => (typeof value === "string" ? localPath(value, folders, folder) : value)) as Job;
  return { ...job, base, ...(dataFolder !== undefined && "dataFolder" in job && { dataFolder }) };
}

function localPath(value: string, folders: ReadonlyMap<string, string>, folder: string): string {
  if (value === HERE + CACHE) return join(folder, CACHE);
  const [, name = "", path = ""] = TREE.exec(value) ?? [];
  const known = folders.get(name);
  // A path that would leave the tree stays a text, which no file has.
  return known === undefined || path.split("/").includes("..") ? value : join(known, path);
}

/** The names of all trees of a job. */
function treesOf(text: string): Set<string> {
  const names = new Set<string>();
  JSON.parse(text, (_, value: unknown) => {
    const [, name] = (typeof value === "string" && TREE.exec(value)) || [];
    if (name !== undefined) names.add(name);
  });
  return names;
}
