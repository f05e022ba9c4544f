/** @file What machines tell each other of a job through the store: its result, and while it runs, what another machine goes on from.
 *
 *  A result is published last, after its files: whoever finds it finds all of it. The files of a state are read in the order in which a
 *  job may be stopped between their writes: what is done, then the numbers of the run, then the rest. */

import { randomUUID } from "node:crypto";
import { copyFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { TrainingError } from "../base/errors.ts";
import { codeOf, makeFolder } from "../checkpoint/atomic.ts";
import { DONE_FILE, JOB_FILE, type JobResult } from "./job.ts";
import { getJson, putJson, type Store } from "./store/store.ts";
import { filesBelow, getFiles, getTree, putFiles, putTree, type Tree } from "./store/trees.ts";

/** A job that was done somewhere. */
export interface Published {
  readonly version: string;
  readonly result: JobResult;
  readonly tree: string;
}
interface SavedState {
  readonly files: Tree;
}

const doneName = (key: string) => `done/${key}.json`;
const stateName = (key: string) => `state/${key}.json`;
const statePrefix = (key: string) => `state/${key}/`;

const OWN = [JOB_FILE, DONE_FILE, "lock"];
const isTemporary = (path: string) => /(^|\/)\.|\.partial(\/|$)/.test(path);
/** The state of a run is large, and of no use when its job is done. */
const isState = (path: string) => path.endsWith("/state.safetensors");

/** The result of a job, wherever it was done. */
export function published(store: Store, key: string): Promise<Published | undefined> {
  return getJson<Published>(store, doneName(key));
}

/** Publishes the folder of a job that is done. */
export async function publish(store: Store, key: string, folder: string, { version, result }: Omit<Published, "tree">): Promise<void> {
  const files = await filesBelow(folder, (path) => !OWN.includes(path) && !isTemporary(path) && !isState(path));
  const tree = await putTree(store, files);
  await putJson(store, doneName(key), { version, result, tree } satisfies Published);
  await forgetState(store, key);
}

/** Writes the files of a published job below a folder. */
export async function fetchPublished(store: Store, { tree }: Published, folder: string): Promise<void> {
  await getTree(store, tree, folder);
}

/** Saves states of a job; one that is as it was is not written again. */
export function stateSaver(store: Store, key: string, folder: string) {
  let last = "";
  return async (): Promise<void> => {
    const copy = `${folder}.${randomUUID().slice(0, 8)}.partial`;
    try {
      const files = await putFilesOf(copy, folder, store, key);
      const text = JSON.stringify(files);
      if (files.length === 0 || text === last) return;
      await putJson(store, stateName(key), { files } satisfies SavedState);
      last = text;
      const kept = new Set(files.map(({ sha256 }) => statePrefix(key) + sha256));
      for (const name of await store.list(statePrefix(key))) if (!kept.has(name)) await store.remove(name);
    } finally {
      await rm(copy, { recursive: true, force: true });
    }
  };
}

/** Copies first: while files are sent to the store, the job replaces them. */
async function putFilesOf(copy: string, folder: string, store: Store, key: string): Promise<Tree> {
  const found = [...(await filesBelow(folder, (path) => !OWN.includes(path) && !isTemporary(path)))];
  const rank = (path: string) => (path === "stages.json" ? 0 : isState(path) ? 1 : 2);
  const copies = new Map<string, string>();
  for (const [path, source] of found.sort(([a], [b]) => rank(a) - rank(b))) {
    const target = join(copy, ...path.split("/"));
    await makeFolder(join(target, ".."));
    try {
      await copyFile(source, target);
    } catch (error) {
      if (codeOf(error) === "ENOENT") continue; // the job has just removed it
      throw error;
    }
    copies.set(path, target);
  }
  return putFiles(store, copies, statePrefix(key));
}

/** Puts the last saved state of a job into its folder. Gives whether there was one. */
export async function restoreState(store: Store, key: string, folder: string): Promise<boolean> {
  const state = await getJson<SavedState>(store, stateName(key));
  if (!state) return false;
  try {
    await getFiles(store, state.files, folder, statePrefix(key));
    return true;
  } catch (error) {
    if (!(error instanceof TrainingError) || error.code !== "store-damaged") throw error;
    await rm(folder, { recursive: true, force: true }); // another machine has just saved a later one, or it is gone: begin anew
    await makeFolder(folder);
    return false;
  }
}

async function forgetState(store: Store, key: string): Promise<void> {
  await store.remove(stateName(key));
  for (const name of await store.list(statePrefix(key))) await store.remove(name);
}
