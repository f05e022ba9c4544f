/** @file One loop for everything that a base generates. Jobs come from any number of callers. Sequences with equal graphs and
 *  feeds share a batch, and join or leave it at any token. Each job's sink receives its tokens and never waits.
 *
 *      each turn   finished sequences leave; waiting ones are admitted while rows and memory allow;
 *                  every group runs one step; one chunk of one prompt is read
 *
 *  A place goes to the client with the fewest sequences running, then to the job that came first. */

import { messageOf } from "../base/errors.ts";
import { stopped } from "../base/stopped.ts";
import { padded } from "../base/tensor.ts";
import type { Runner } from "../inference/runner.ts";
import type { Decoder } from "./decoder.ts";
import { feedsOfRow } from "./feeds.ts";
import { Group } from "./group.ts";
import { type Job, RunningJob, type Sink } from "./job.ts";
import { KeptRows } from "./kept-rows.ts";
import { Pace } from "./pace.ts";
import { checkPrompt } from "./slot.ts";

export interface SchedulerLimits {
  /** The most sequences that run at once. Default 64. */
  readonly rows?: number;
  /** The most bytes of the caches of running sequences. The newest sequences are removed to make room and read again later. Default 2 GiB. */
  readonly cacheBytes?: number;
  /** The most bytes of the caches kept from sequences that have ended. Default 256 MiB. */
  readonly keptBytes?: number;
  /** The most tokens of a prompt that are read in one run. */
  readonly chunk?: number;
}

/** Counts of a scheduler's present and past work. */
export interface SchedulerState {
  readonly running: number;
  readonly waiting: number;
  readonly cacheBytes: number;
  readonly keptBytes: number;
  readonly steps: number;
  readonly preemptions: number;
}

export class Scheduler {
  readonly #limits: Required<Omit<SchedulerLimits, "chunk">> & Pick<SchedulerLimits, "chunk">;
  readonly #kept: KeptRows;
  readonly #pace = new Pace();
  readonly #groups = new Map<string, Group>();
  #jobs: RunningJob[] = [];
  #arrivals = 0;
  #turns = 0;
  #steps = 0;
  #preemptions = 0;
  #isRunning = false;
  #nudge = () => {};
  readonly #aside: (() => Promise<void>)[] = [];

  constructor({ rows = 64, cacheBytes = 2 ** 31, keptBytes = 2 ** 28, chunk }: SchedulerLimits = {}) {
    this.#limits = { rows, cacheBytes, keptBytes, ...(chunk && { chunk }) };
    this.#kept = new KeptRows(keptBytes);
  }

  get state(): SchedulerState {
    const waiting = this.#jobs.reduce((sum, job) => sum + job.waiting.reduce((of, { sequences }) => of + sequences.length, 0), 0);
    const [steps, preemptions] = [this.#steps, this.#preemptions];
    return { running: this.#rows, waiting, cacheBytes: this.#bytes, keptBytes: this.#kept.bytes, steps, preemptions };
  }

  /** Frees the caches that are kept for later prompts. */
  forget(): void {
    this.#kept.empty();
  }

  /** Adds a job. A prompt that the model cannot read is refused. The returned function removes the job. */
  submit(job: Job, sink: Sink): (reason?: unknown) => void {
    for (const prompt of job.prompts) checkPrompt(prompt, job.model.base.architecture);
    const running = new RunningJob(job, sink, ++this.#arrivals);
    const leave = (reason?: unknown) => running.end(reason);
    const { signal } = job;
    const abort = () => leave(stopped({ work: "generation", cause: signal?.reason }));
    signal?.addEventListener("abort", abort, { once: true });
    running.whenOver(() => {
      signal?.removeEventListener("abort", abort);
      this.#wake(); // the loop then frees the job's rows
    });
    this.#jobs.push(running);
    void this.#prepare(running).catch(leave);
    return leave;
  }

  /** Computes the choices of a job's rows, if the method has any, and puts the rows in the queue. */
  async #prepare(running: RunningJob): Promise<void> {
    const { model, prompts, sequences, work, rowsAtOnce = Number.POSITIVE_INFINITY } = running.job;
    const n = sequences.length / prompts.length;
    const together = model.woven.chooseRows ? Math.min(prompts.length, Math.max(1, Math.floor(rowsAtOnce / n))) : prompts.length;
    for (let start = 0; start < prompts.length && !running.isOver; start += together) {
      const part = prompts.slice(start, start + together);
      const { ids, mask } = padded(model.woven.chooseRows ? part : []);
      const feeds = await model.woven.chooseRows?.({ inputIds: ids, attentionMask: mask });
      part.forEach((prompt, i) => {
        const own = sequences.slice((start + i) * n, (start + i + 1) * n);
        const rowFeeds = feeds ? feedsOfRow(feeds, i) : {};
        running.waiting.push({ prompt, sequences: own, rowFeeds, generated: [], work, isCounted: false });
      });
      this.#wake();
    }
  }

  /** Runs something else that uses the engine between two turns, so that streams wait for one run of it at a time. */
  aside<T>(run: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#aside.push(() => run().then(resolve, reject));
      this.#wake();
    });
  }

  /** Wakes the loop: it starts, or stops waiting for a graph. */
  #wake(): void {
    this.#nudge();
    if (this.#isRunning) return;
    this.#isRunning = true;
    this.#loop().catch((error: unknown) => {
      this.#isRunning = false;
      for (const job of this.#jobs) job.end(error);
    });
  }

  async #loop(): Promise<void> {
    for (;;) {
      this.#sweep();
      this.#admit();
      const groups = [...this.#groups.values()];
      const running = groups.filter(({ size }) => size > 0);
      const opening = groups.flatMap((group) => group.opening ?? []);
      if (running.length > 0 || this.#aside.length > 0) await this.#turn(running);
      else if (opening.length > 0) {
        const nudged = new Promise<void>((resolve) => {
          this.#nudge = resolve;
        });
        await Promise.race([nudged, ...opening]);
      } else {
        this.#isRunning = false;
        return;
      }
    }
  }

  async #turn(groups: readonly Group[]): Promise<void> {
    this.#makeRoom();
    let spent = 0;
    let isStepping = false;
    for (const group of groups) {
      await this.#guarded(group, async (decoder) => {
        const start = performance.now();
        const slots = await decoder.decode();
        spent += performance.now() - start;
        isStepping ||= slots.length > 0;
        group.deliver(decoder, slots);
      });
    }
    if (isStepping) {
      this.#steps++;
      this.#pace.stepped(spent);
    }
    const reading = groups.filter(({ decoder }) => decoder?.isReading);
    const turn = this.#turns++ % (reading.length + (this.#aside.length > 0 ? 1 : 0));
    if (turn === reading.length) await this.#aside.shift()?.();
    const group = reading[turn];
    if (!group) return;
    // A single job delays no other job, and its computation does not depend on the clock.
    const isAlone = this.#jobs.length === 1 || !isStepping;
    const tokens = isAlone ? Number.POSITIVE_INFINITY : this.#pace.tokens;
    await this.#guarded(group, async (decoder) => {
      const start = performance.now();
      const slots = await decoder.read(tokens);
      if (!isAlone) this.#pace.read(tokens, performance.now() - start);
      group.deliver(decoder, slots);
    });
  }

  /** An error in a group's graphs ends only the jobs of that group. */
  async #guarded(group: Group, use: (decoder: Decoder) => Promise<void>): Promise<void> {
    try {
      await use(group.decoder!);
    } catch (error) {
      this.#fail(group, error);
    }
  }
  #fail(group: Group, error: unknown): void {
    this.#drop(group);
    for (const job of this.#jobs) if (job.group === group.key) job.end(error ?? new Error(messageOf(error)));
  }

  /** Releases ended jobs. */
  #sweep(): void {
    for (const group of [...this.#groups.values()]) {
      group.sweep();
      if (group.error !== undefined) this.#fail(group, group.error);
    }
    this.#jobs = this.#jobs.filter(({ isOver }) => !isOver);
    const wanted = new Set(this.#jobs.map(({ group }) => group));
    for (const group of [...this.#groups.values()]) if (group.size === 0 && !wanted.has(group.key)) this.#drop(group);
  }
  #drop(group: Group): void {
    this.#groups.delete(group.key);
    group.close();
  }

  get #rows(): number {
    return this.#jobs.reduce((sum, { rows }) => sum + rows, 0);
  }
  get #bytes(): number {
    return [...this.#groups.values()].reduce((sum, { decoder }) => sum + (decoder?.bytes ?? 0), 0);
  }

  /** Admits waiting sequences in order, until there is no room. */
  #admit(): void {
    if (this.#isBetterLater) return;
    for (const tried = new Set<RunningJob>(); this.#rows < this.#limits.rows; ) {
      const job = this.#next(tried);
      if (!job) return;
      const outcome = this.#admitOne(job);
      if (outcome === "no room") return;
      if (outcome === "not now") tried.add(job);
    }
  }

  /** A single job waits until several places are free, so that its prompts are read in parallel. */
  get #isBetterLater(): boolean {
    const [job] = this.#jobs;
    if (!job || this.#jobs.length > 1 || job.rows === 0) return false;
    const most = Math.min(this.#limits.rows, job.job.rowsAtOnce ?? this.#limits.rows);
    return most - job.rows < Math.min(most / 4, job.waiting.length);
  }

  /** The job that gets the next place. */
  #next(tried: ReadonlySet<RunningJob>): RunningJob | undefined {
    const rows = new Map<string | RunningJob, number>();
    const clientOf = (running: RunningJob) => running.job.client ?? running;
    for (const job of this.#jobs) rows.set(clientOf(job), (rows.get(clientOf(job)) ?? 0) + job.rows);
    let best: RunningJob | undefined;
    for (const job of this.#jobs) {
      if (job.isOver || job.waiting.length === 0 || tried.has(job)) continue;
      if (!best || rows.get(clientOf(job))! < rows.get(clientOf(best))!) best = job; // jobs are in order of arrival
    }
    return best;
  }

  /** Admits the first entry of a job that can be admitted. */
  #admitOne(job: RunningJob): "admitted" | "not now" | "no room" {
    const { rowsAtOnce = Number.POSITIVE_INFINITY } = job.job;
    const room = Math.min(this.#limits.rows - this.#rows, rowsAtOnce - job.rows);
    if (room <= 0) return "not now";
    const group = this.#groups.get(job.group) ?? new Group(job, this.#kept, this.#limits.chunk);
    this.#groups.set(job.group, group);
    const { decoder } = group;
    if (!decoder || !group.isOpenFor(job)) return "not now";
    for (let i = 0; i < Math.min(job.waiting.length, room); i++) {
      const entry = job.waiting[i]!;
      const more = decoder.bytesWith(entry.prompt.length + entry.generated.length + 1) - decoder.bytes;
      if (this.#rows > 0 && this.#bytes + more > this.#limits.cacheBytes) return "no room";
      if (!group.admit(decoder, job, entry, room)) continue;
      if (entry.sequences.length === 0) job.waiting.splice(i, 1);
      return "admitted";
    }
    return "not now";
  }

  /** Removes the newest rows until the next step fits into memory. */
  #makeRoom(): void {
    const growth = () =>
      [...this.#groups.values()].reduce((sum, { decoder }) => sum + (decoder ? decoder.nextBytes - decoder.bytes : 0), 0);
    while (this.#rows > 1 && this.#bytes + growth() > this.#limits.cacheBytes) {
      // If a token's numbers depend on how its row was read, the row cannot be read again.
      const groups = [...this.#groups.values()].filter(({ readsWholeRows }) => !readsWholeRows);
      const rows = groups.flatMap((group) => group.rows.map((row) => ({ group, row })));
      const newest = rows.reduce<(typeof rows)[number] | undefined>(
        (a, b) => (a && a.row.job.arrival > b.row.job.arrival ? a : b),
        undefined,
      );
      if (!newest || rows.length < 2) return;
      newest.group.preempt(newest.row);
      this.#preemptions++;
    }
  }
}

const schedulers = new WeakMap<Runner, Scheduler>();

/** The scheduler for all generation of one runner. */
export function schedulerOf(runner: Runner): Scheduler {
  const known = schedulers.get(runner);
  if (known) return known;
  const scheduler = new Scheduler();
  schedulers.set(runner, scheduler);
  runner.whenDisposed(() => scheduler.forget());
  return scheduler;
}
