/** @file A worker: takes jobs of farms from a queue, as many side by side as it is asked to, until it is stopped. */

import { randomUUID } from "node:crypto";
import { readdir, rm } from "node:fs/promises";
import { availableParallelism, hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { TrainingError } from "../base/errors.ts";
import { makeFolder } from "../checkpoint/atomic.ts";
import { openBase } from "../inference/base.ts";
import { exists } from "../storage/files.ts";
import type { JobProgram } from "./job-process.ts";
import { isGone } from "./lock.ts";
import { persistently } from "./persist.ts";
import { farmVersion, type PortableJob } from "./portable-job.ts";
import type { FarmQueue, TakenJob } from "./queue/farm-queue.ts";
import { type Ending, type RemoteSetting, runTaken } from "./remote-job.ts";
import { type Store, storeName } from "./store/store.ts";
import { getTree } from "./store/trees.ts";

/** What a worker takes, and how it works. */
export interface WorkerOptions {
  readonly queue: FarmQueue;
  readonly store: Store;
  readonly program: JobProgram;
  /** Host and process, as the queue shows them. */
  readonly worker: string;
  /** Jobs side by side. Default 1. */
  readonly workers?: number | undefined;
  /** Seconds that a job is this worker's without a word. */
  readonly lease: number;
  /** Seconds between the states of a job that the store gets. */
  readonly saveEvery: number;
  /** Ends after so many seconds without a job. Default: never. */
  readonly idle?: number | undefined;
  /** The base's folder on this machine, where the farm's own is not here. */
  readonly base?: string | undefined;
  /** The folder of datasets and templates on this machine. */
  readonly dataFolder?: string | undefined;
  /** Where files of jobs are kept while they run. Default: the system's temporary folder. */
  readonly work?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onEvent?: (event: WorkerEvent) => void;
  readonly onWarning?: (message: string) => void;
}

/** What a worker does. */
export interface WorkerEvent {
  readonly job: string;
  readonly farm: string;
  readonly state: "taken" | Ending;
}
/** How many jobs a worker did. */
export interface WorkerResult {
  readonly worker: string;
  readonly done: number;
  readonly failed: number;
}

const POLL = 500; // ms between questions to a queue without jobs

/** Host and process, and a word that makes restarted ones differ. */
export function workerName(): string {
  return `${hostname()}-${process.pid}-${randomUUID().slice(0, 4)}`;
}

/** Takes jobs until the signal aborts, or there was none for `idle` seconds.
 *  @throws TrainingError when this machine cannot do the farm's jobs: another version of Skein, another base, a store that refuses it. */
export async function runWorker(options: WorkerOptions): Promise<WorkerResult> {
  const { queue, workers = 1, idle, onEvent, signal } = options;
  const stopping = new AbortController(); // a slot's problem stops the others
  const stop = () => stopping.abort();
  signal?.addEventListener("abort", stop);
  if (signal?.aborted) stop();
  const home = join(options.work ?? join(tmpdir(), "skein-farm"), `${process.pid}-${hostname()}`);
  await removeLeftovers(join(home, ".."));
  await makeFolder(home);
  const stopped = new Promise<undefined>((over) => stopping.signal.addEventListener("abort", () => over(undefined), { once: true }));
  const counts = { done: 0, failed: 0 };
  let busy = 0;
  let lastJob = performance.now();
  const trees = treeFolders(options.store, join(home, "trees"));
  const setting = settingOf(options, { home, trees, signal: stopping.signal });
  const slot = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      if (busy === 0) await trees.trim();
      const taken = await Promise.race([takeNext(queue, stopping.signal, options), stopped]);
      if (!taken) {
        if (idle !== undefined && busy === 0 && performance.now() - lastJob > idle * 1000) return;
        await sleep(POLL, undefined, { signal: stopping.signal }).catch(() => undefined); // stopped
        continue;
      }
      busy++;
      try {
        await refuse(taken, options);
        const { name: job, farm } = taken.data;
        onEvent?.({ job, farm, state: "taken" });
        const ending = await runTaken(taken, setting);
        if (ending === "done" || ending === "failed") counts[ending]++;
        onEvent?.({ job, farm, state: ending });
      } finally {
        busy--;
        lastJob = performance.now();
      }
    }
  };
  try {
    const slots = Array.from({ length: workers }, () =>
      slot().catch((error: unknown) => {
        stop();
        throw error;
      }),
    );
    const ended = await Promise.allSettled(slots);
    const problem = ended.find(({ status }) => status === "rejected");
    if (problem) throw (problem as PromiseRejectedResult).reason;
    return { worker: options.worker, ...counts };
  } finally {
    signal?.removeEventListener("abort", stop);
    await rm(home, { recursive: true, force: true });
  }
}

/** The next job; undefined where none waits, or the worker is stopped while the queue is away. */
async function takeNext(queue: FarmQueue, signal: AbortSignal, { onWarning }: WorkerOptions): Promise<TakenJob | undefined> {
  try {
    return await persistently(() => queue.take(), { signal, onWarning });
  } catch (error) {
    if (signal.aborted) return undefined;
    throw error;
  }
}

/** Gives back a job whose result this worker could not make the same, or could not bring to its farm. */
async function refuse(taken: TakenJob, { worker, store, onWarning, signal }: WorkerOptions): Promise<void> {
  const { version: expected, farm, store: asked } = taken.data;
  const got = farmVersion();
  if (expected === got && (await persistently(() => storeName(store), { onWarning, signal })) === asked) return;
  await taken.release();
  if (expected === got) {
    throw new TrainingError({
      code: "worker-store-differs",
      what: `The worker ${worker} has another store than the farm "${farm}": its results would not get there.`,
      where: store.place,
      fix: "Give the worker the farm's store.",
    });
  }
  throw new TrainingError({
    code: "worker-version",
    data: { expected, got },
    what: `The worker ${worker} has Skein ${got}, and the farm "${farm}" was started with ${expected}: results could differ.`,
    fix: "Install that version on this machine, or run the farm again with this one.",
  });
}

interface Place {
  readonly home: string;
  readonly trees: ReturnType<typeof treeFolders>;
  readonly signal: AbortSignal;
}

function settingOf(options: WorkerOptions, { home, trees, signal }: Place): RemoteSetting {
  const { store, program, worker, workers = 1, lease, saveEvery, dataFolder, onWarning } = options;
  const bases = new Map<string, Promise<string>>();
  return {
    store,
    program,
    worker,
    lease,
    saveEvery,
    dataFolder,
    signal,
    onWarning,
    threads: Math.max(1, Math.floor(availableParallelism() / workers)),
    work: join(home, "jobs"),
    baseFolder(base) {
      const known = bases.get(base.fingerprint) ?? folderOfBase(base, options.base);
      bases.set(base.fingerprint, known);
      return known;
    },
    treeFolder: trees.folderOf,
  };
}

/** The base on this machine: what the worker was given, the farm's own path or the Hub's. */
async function folderOfBase({ name, fingerprint }: PortableJob["base"], given: string | undefined): Promise<string> {
  const base = await openBase(given ?? name);
  if ((await base.fingerprint()) === fingerprint) return base.checkpoint.directory;
  throw new TrainingError({
    code: "worker-base-differs",
    data: { base: name },
    what: `The base ${given ?? name} on this machine has other numbers than the farm's.`,
    where: base.checkpoint.directory,
    fix: "Give the worker the farm's base: its folder, or the same revision of it from the Hub.",
  });
}

const KEPT_TREES = 8; // of the inputs of jobs that are over

/** Folders of trees, each fetched once. `trim` removes the least recently used ones, which no job may need then. */
function treeFolders(store: Store, home: string) {
  const fetched = new Map<string, { readonly folder: string; readonly ready: Promise<void> }>();
  let count = 0;
  const folderOf = async (name: string): Promise<string> => {
    const folder = join(home, String(++count)); // never one that is being removed
    const tree = fetched.get(name) ?? { folder, ready: getTree(store, name, folder) };
    fetched.delete(name); // the latest come last
    fetched.set(name, tree);
    try {
      await tree.ready;
    } catch (error) {
      fetched.delete(name);
      throw error;
    }
    return tree.folder;
  };
  const trim = async (): Promise<void> => {
    const old = [...fetched].slice(0, -KEPT_TREES);
    for (const [name] of old) fetched.delete(name);
    for (const [, { folder }] of old) await rm(folder, { recursive: true, force: true });
  };
  return { folderOf, trim };
}

/** Removes what processes left that were killed here. */
async function removeLeftovers(folder: string): Promise<void> {
  if (!(await exists(folder))) return;
  for (const name of await readdir(folder)) {
    const [, pid, host = ""] = /^(\d+)-(.+)$/.exec(name) ?? [];
    if (pid !== undefined && isGone({ pid: Number(pid), host })) await rm(join(folder, name), { recursive: true, force: true });
  }
}
