/** @file Sequences of different jobs that share one decoder, because their graphs and feeds are equal. */

import { neededBy } from "./candidates.ts";
import { Decoder, type KnownTokens } from "./decoder.ts";
import type { Entry, RunningJob } from "./job.ts";
import type { KeptAs, KeptRows } from "./kept-rows.ts";
import { type Sequence, takeToken } from "./sequence.ts";
import type { Slot } from "./slot.ts";

/** A sequence in a decoder. */
interface Row {
  readonly job: RunningJob;
  readonly entry: Entry;
  readonly slot: Slot;
  readonly sequence: Sequence;
  /** Sequences that continue the same prompt after it is read. */
  readonly siblings: Sequence[];
}

const LEAST_SHARED = 6; // tokens; reading fewer is faster than copying them
const WORTH_WAITING = 32;
const NOTHING_SHARED = { held: 0, coming: 0, of: undefined };

export class Group {
  readonly key: string;
  readonly routes: boolean;
  readonly readsWholeRows: boolean;
  readonly #kept: KeptRows;
  readonly #rows = new Map<Slot, Row>();
  #decoder: Decoder | undefined;
  /** The error that prevented the decoder. */
  error: unknown;
  /** Settles when the decoder is open or has failed. */
  readonly #opened: Promise<void>;
  /** Settles when what opens now is open or has failed; undefined if nothing opens. */
  opening: Promise<void> | undefined;

  constructor({ group, hasRoutes: routes, job: { model } }: RunningJob, kept: KeptRows, chunk?: number) {
    this.key = group;
    this.routes = routes;
    this.readsWholeRows = model.woven.readsWholeRows ?? false;
    this.#kept = kept;
    this.#opened = Decoder.open(model, { routes, ...(chunk && { chunk }) }).then(
      (decoder) => {
        this.#decoder = decoder;
      },
      (error: unknown) => {
        this.error = error;
      },
    );
    this.#await(this.#opened);
  }
  #await(opening: Promise<void>): void {
    this.opening = opening.finally(() => {
      this.opening = undefined;
    });
  }

  /** Whether the decoder can read rows of this job. If not, it begins to open what is missing. */
  isOpenFor(running: RunningJob): boolean {
    const { alone } = running.job.model.woven;
    const decoder = this.#decoder;
    if (decoder?.isOpenFor(alone)) return true;
    if (decoder && !this.opening) this.#await(decoder.openFor(alone).catch((error: unknown) => running.end(error)));
    return false;
  }

  /** Releases the decoder, now or as soon as it is open. */
  close(): void {
    void this.#opened.then(() => this.#decoder?.close());
  }

  /** Undefined until the decoder is open. */
  get decoder(): Decoder | undefined {
    return this.#decoder;
  }
  get rows(): readonly Row[] {
    return [...this.#rows.values()];
  }
  get size(): number {
    return this.#rows.size;
  }

  /** Admits up to `room` sequences of an entry. Returns false if another sequence is still reading a shared beginning, and waiting is cheaper. */
  admit(decoder: Decoder, job: RunningJob, entry: Entry, room: number): boolean {
    const tokens = [...entry.prompt, ...entry.generated];
    const { work } = entry; // needs every token
    const { held, coming, of } = work ? NOTHING_SHARED : decoder.shared(tokens, entry.rowFeeds);
    const kept = work ? undefined : this.#kept.find(keptAs(job, entry), tokens, this.routes);
    const known = Math.max(held, kept?.length ?? 0);
    if (coming - known >= WORTH_WAITING && 2 * coming >= tokens.length + known) return false;
    const best: KnownTokens | undefined = of && held >= (kept?.length ?? 0) ? decoder.known(of, held) : kept;
    const slot = decoder.admit(entry.prompt, {
      rowFeeds: entry.rowFeeds,
      alone: job.job.model.woven.alone,
      work,
      generated: entry.generated,
      candidates: candidatesFor(entry.sequences),
      ...(best && best.length >= LEAST_SHARED && { known: best }),
    });
    if (!entry.isCounted) for (const sequence of entry.sequences) sequence.cachedTokens = slot.tokens.length;
    entry.isCounted = true;
    const [sequence, ...siblings] = entry.sequences.splice(0, room) as [Sequence, ...Sequence[]];
    this.#rows.set(slot, { job, entry, slot, sequence, siblings });
    job.rows += 1 + siblings.length;
    return true;
  }

  /** Chooses the next token of each slot that has read all its tokens. */
  deliver(decoder: Decoder, slots: readonly Slot[]): void {
    for (const slot of slots) {
      const row = this.#rows.get(slot);
      if (!row || row.job.isOver) continue;
      const { job, entry, sequence, siblings } = row;
      const result = entry.work && slot.reading?.result;
      if (result) {
        entry.work = undefined;
        job.tellPrompt([sequence, ...siblings], result);
        if (job.job.onlyReads) {
          this.#release(decoder, row, false);
          continue;
        }
      }
      const forks = row.siblings.splice(0).map((sequence) => {
        const copy = { ...row, slot: decoder.fork(slot), sequence };
        this.#rows.set(copy.slot, copy);
        return copy;
      });
      for (const one of [row, ...forks]) this.#take(decoder, one);
    }
  }

  #take(decoder: Decoder, row: Row): void {
    const { job, slot, sequence } = row;
    if (job.isOver) return;
    try {
      const { ends, until } = job.job;
      const token = takeToken(sequence, slot.logits!, ends);
      if (until?.(sequence.ids, sequence.prompt)) sequence.finishReason ??= "stop";
      const route = slot.lastRoute;
      if (sequence.finishReason) {
        const { routes } = slot;
        if (routes) sequence.routes = routes;
        this.#release(decoder, row, true);
      } else decoder.push(slot, token.choice.id);
      job.tell(route ? { ...token, route } : token);
    } catch (error) {
      job.end(error);
    }
  }

  /** Releases the rows of jobs that have ended. */
  sweep(): void {
    if (this.#decoder) for (const row of this.rows) if (row.job.isOver) this.#release(this.#decoder, row, true);
  }

  /** Removes a row. It is read again when there is room. */
  preempt(row: Row): void {
    const { job, entry, sequence, siblings } = row;
    this.#release(this.#decoder!, row, false);
    job.waiting.unshift({ ...entry, sequences: [sequence, ...siblings], generated: [...sequence.ids], isCounted: true });
  }

  #release(decoder: Decoder, { job, entry, slot, siblings }: Row, keeps: boolean): void {
    const kept = keeps && job.job.keeps !== false ? decoder.keep(slot) : undefined;
    if (kept) this.#kept.add({ ...kept, ...keptAs(job, entry), tokens: [...slot.tokens] });
    decoder.release(slot);
    this.#rows.delete(slot);
    job.rows -= 1 + siblings.length;
  }
}

/** How many of the best logits are enough for all of these sequences, which may share a slot. */
function candidatesFor(sequences: readonly Sequence[]): number | undefined {
  const most = neededBy(sequences.map(({ sampler }) => sampler));
  return Number.isFinite(most) ? most : undefined;
}

/** What the cache of an entry depends on, besides its tokens. */
function keptAs({ job: { model } }: RunningJob, { rowFeeds }: Entry): KeptAs {
  const { batch, alone } = model.woven;
  return alone ? { batch: alone.batch, rowFeeds: {} } : { batch, rowFeeds };
}
