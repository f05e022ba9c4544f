/** @file The queue of a farm's jobs on BullMQ. It only hands out work: what is done is in the store. A job's name on the queue is its own
 *  name, its key and its store, so that it is there once, however many farms ask for it.
 *
 *      skein-farm            jobs for every worker
 *      skein-farm.<label>    jobs for workers with this label */

import type { Job as BullJob, Queue, Worker } from "bullmq";
import { OptionError } from "../../base/errors.ts";
import { codeOf } from "../../checkpoint/atomic.ts";
import type { JobProgress } from "../job.ts";
import type { JobProblem } from "../job-process.ts";
import type { PortableJob } from "../portable-job.ts";
import { queueServer } from "./connection.ts";

/** What a worker tells about a job. */
export interface Report extends Partial<JobProgress> {
  /** Host and process of the worker. */
  readonly worker?: string;
  readonly problem?: JobProblem;
}

/** A job on the queue. */
export interface QueuedJob {
  readonly id: string;
  readonly data: PortableJob;
  readonly state: "waiting" | "running" | "done" | "failed" | "cancelled";
  readonly report: Report;
  /** How often its worker died. */
  readonly deaths: number;
}

/** A job that a worker has taken. */
export interface TakenJob {
  readonly data: PortableJob;
  report(report: Report): Promise<void>;
  /** Keeps the job for another lease. lost: another worker may have it. cancelled: nobody wants it any more. */
  keep(): Promise<"kept" | "lost" | "cancelled">;
  done(): Promise<void>;
  failed(problem: JobProblem, report: Report): Promise<void>;
  /** Gives it back for another worker. */
  release(): Promise<void>;
}

export interface FarmQueue {
  readonly place: string;
  /** Adds a job; one that is there stays as it is. */
  add(job: PortableJob): Promise<void>;
  look(job: Pick<PortableJob, "name" | "key" | "label" | "store">): Promise<QueuedJob | undefined>;
  /** All jobs of the labels. */
  all(): Promise<QueuedJob[]>;
  /** Puts a job that failed, was done or was cancelled among the waiting ones again. */
  again(job: QueuedJob): Promise<void>;
  cancel(job: QueuedJob): Promise<void>;
  remove(job: QueuedJob): Promise<void>;
  /** The next job of the labels; undefined where none waits. */
  take(): Promise<TakenJob | undefined>;
  close(): Promise<void>;
}

/** Which jobs of a queue are looked at or taken, and how. */
export interface QueueOptions {
  readonly labels?: readonly string[] | undefined;
  /** Seconds after which the job of a worker that died goes to another. */
  readonly lease?: number | undefined;
  /** For a worker: its name. */
  readonly worker?: string;
  /** Called when the server goes away, and when it is back. */
  readonly onTrouble?: (message: string) => void;
}

const QUEUE = "skein-farm";
const LEASE = 30; // s
const MOST_DEATHS = 10; // of workers that had one job
const KEPT = { removeOnComplete: { age: 7 * 86_400, count: 10_000 }, removeOnFail: { age: 30 * 86_400, count: 10_000 } };
const CLOSE_WAIT = 3000; // ms for a server that may be away

/** Opens the queue of an address.
 *  @throws TrainingError when its server does not answer or refuses the user. */
export async function openQueue(address: string, options: QueueOptions = {}): Promise<FarmQueue> {
  const { labels = [], lease = LEASE, worker: name, onTrouble } = options;
  for (const label of labels) checkLabel(label);
  const server = await queueServer(address);
  const { bull, place } = server;
  const trouble = troubleOf(place, onTrouble);
  const queues = new Map<string, Queue<PortableJob>>();
  const queueOf = (label = ""): Queue<PortableJob> => {
    const known = queues.get(label);
    if (known) return known;
    const queue = new bull.Queue<PortableJob>(nameOf(label), server.options, server.backend);
    queue.on("error", trouble.met);
    queues.set(label, queue);
    return queue;
  };
  const workers: Worker<PortableJob>[] = [];
  const names = [...labels, ""]; // jobs that only few workers may take come first
  if (name !== undefined) {
    for (const label of names) {
      const settings = {
        lockDuration: lease * 1000,
        stalledInterval: (lease * 1000) / 2,
        maxStalledCount: MOST_DEATHS,
        autorun: false,
        name,
      };
      const worker = new bull.Worker<PortableJob>(nameOf(label), null, { ...server.options, ...settings }, server.backend);
      worker.on("error", trouble.met);
      await worker.waitUntilReady();
      await worker.startStalledCheckTimer();
      workers.push(worker);
    }
  }
  let taken = 0;
  const jobOf = async ({ id, data }: Pick<QueuedJob, "id" | "data">) => bull.Job.fromId<PortableJob>(queueOf(data.label), id);
  const look: FarmQueue["look"] = async (job) => {
    const found = await trouble.watched(bull.Job.fromId<PortableJob>(queueOf(job.label), idOf(job)));
    return found && trouble.watched(viewOf(found));
  };
  return {
    place,
    add: async (job) => void (await trouble.watched(queueOf(job.label).add(job.kind, job, { jobId: idOf(job), ...KEPT }))),
    look,
    async all() {
      const found = await Promise.all(names.map((label) => trouble.watched(queueOf(label).getJobs())));
      return Promise.all(found.flat().map((job) => trouble.watched(viewOf(job))));
    },
    async again(view) {
      const job = await jobOf(view);
      if (!job) return;
      const { cancelled: _, ...data } = job.data;
      await job.updateData(data as PortableJob);
      await job.updateProgress({});
      if (job.finishedOn) await job.retry(job.failedReason ? "failed" : "completed");
    },
    async cancel(view) {
      const job = await jobOf(view);
      await job?.updateData({ ...job.data, cancelled: true });
    },
    remove: async (view) => void (await (await jobOf(view))?.remove()),
    async take() {
      for (const worker of workers) {
        const token = `${name}-${++taken}`;
        const job = await trouble.watched(worker.getNextJob(token, { block: false }));
        if (job) return takenJob(job, token, { lease, unrecoverable: (message) => new bull.UnrecoverableError(message), look, trouble });
      }
      return undefined;
    },
    async close() {
      const all = [...workers, ...queues.values()];
      const closed = Promise.all(all.map((one) => ("run" in one ? one.close(true) : one.close()))).catch(() => undefined); // away
      await Promise.race([closed, new Promise((late) => setTimeout(late, CLOSE_WAIT).unref())]);
      await Promise.race([
        Promise.all(all.map((one) => one.disconnect())).catch(() => undefined), // closed already
        new Promise((late) => setTimeout(late, CLOSE_WAIT).unref()),
      ]);
    },
  };
}

interface Taking {
  readonly lease: number;
  readonly unrecoverable: (message: string) => Error;
  readonly look: FarmQueue["look"];
  readonly trouble: Trouble;
}

function takenJob(job: BullJob<PortableJob>, token: string, { lease, unrecoverable, look, trouble }: Taking): TakenJob {
  return {
    data: job.data,
    report: (report) => trouble.watched(job.updateProgress({ ...report })),
    async keep() {
      const isKept = await trouble.watched(job.extendLock(token, lease * 1000)).catch(lostLock);
      if (!isKept) return "lost";
      return (await look(job.data))?.state === "cancelled" ? "cancelled" : "kept";
    },
    done: async () => void (await trouble.watched(job.moveToCompleted(null, token, false))),
    async failed(problem, report) {
      await trouble.watched(job.updateProgress({ ...report, problem }));
      await trouble.watched(job.moveToFailed(unrecoverable(problem.what), token, false));
    },
    release: async () => void (await trouble.watched(job.moveToWait(token))),
  };
}

/** BullMQ's answers for a job that this worker no longer has. */
function lostLock(error: unknown): 0 {
  if (isLost(error)) return 0;
  throw error;
}

/** Whether a call failed since the job belongs to another worker by now, or is gone. */
export function isLost(error: unknown): boolean {
  return (
    error instanceof Error && /Missing lock|Lock mismatch|not in the active state|Missing key|not locked|missing job/i.test(error.message)
  );
}

async function viewOf(job: BullJob<PortableJob>): Promise<QueuedJob> {
  const report = (typeof job.progress === "object" ? job.progress : {}) as Report;
  const on = await job.getState();
  const state =
    on === "completed" ? "done" : job.data.cancelled ? "cancelled" : on === "failed" ? "failed" : on === "active" ? "running" : "waiting";
  return { id: job.id!, data: job.data, state, report, deaths: job.stalledCounter ?? 0 };
}

function idOf({ name, key, store }: Pick<PortableJob, "name" | "key" | "store">): string {
  return `${name.replace(/[^\w.-]+/g, "_")}-${key.slice(0, 16)}-${store.slice(0, 8)}`;
}

const nameOf = (label: string) => (label === "" ? QUEUE : `${QUEUE}.${label}`);

function checkLabel(label: string): void {
  if (/^[\w-]+$/.test(label)) return;
  throw new OptionError({
    code: "option-invalid",
    data: { option: "labels" },
    what: `This is no label: "${label}"`,
    where: "labels",
    fix: "Use letters, digits, - and _.",
  });
}

interface Trouble {
  readonly met: (error: Error) => void;
  watched<T>(work: Promise<T>): Promise<T>;
}

/** Says once when the server goes away, and once when it answers again. */
function troubleOf(place: string, tell?: (message: string) => void): Trouble {
  let isAway = false;
  const met = (error: Error) => {
    if (isAway || !isAwayError(error)) return;
    isAway = true;
    tell?.(`The queue ${place} does not answer. Waiting for it; running jobs go on.`);
  };
  return {
    met,
    async watched(work) {
      try {
        const value = await work;
        if (isAway) tell?.(`The queue ${place} answers again.`);
        isAway = false;
        return value;
      } catch (error) {
        if (error instanceof Error) met(error);
        throw error;
      }
    },
  };
}

const AWAY =
  /ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|Connection (is closed|terminated|ended)|timeout exceeded|shutting down|starting up|terminating connection|LOADING|READONLY|not queryable/i;
const AWAY_CODES = ["57P01", "57P02", "57P03", "08006", "08001", "08003", "53300"]; // PostgreSQL: shut down, starting, connection lost

/** Whether an error says that the server is away for now. */
export function isAwayError(error: unknown): boolean {
  return AWAY_CODES.includes(codeOf(error)) || (error instanceof Error && AWAY.test(`${codeOf(error)} ${error.message}`));
}
