/** @file Rows that run together: their caches, and the feeds of a run. Rows join and leave between runs. */

import { invariant } from "../base/errors.ts";
import { type HostTensor, int64, padded } from "../base/tensor.ts";
import type { DeviceFeeds, Results } from "../runtime/engine.ts";
import type { Feeds } from "../runtime/session.ts";
import { type Logits, neededBy } from "./candidates.ts";
import { stackedFeeds } from "./feeds.ts";
import type { KvRow, KvStore } from "./kv-store.ts";
import { kindOf, type Program, type Programs } from "./program.ts";
import { LABELS } from "./prompt-reading.ts";
import { routesOfRows } from "./routes.ts";
import type { Slot } from "./slot.ts";

interface Inputs extends Feeds {
  readonly decoder_ids: HostTensor<"int64">;
  readonly decoder_mask: HostTensor<"int64">;
  readonly positions: HostTensor<"int64">;
}

const LOGITS_BYTES = 2 ** 27; // of one run

export class RowBatch {
  readonly #programs: Programs;
  readonly #past: KvStore;
  readonly #cross: KvStore | undefined;
  readonly #slots: Slot[] = [];
  /** The feeds for one token per row. They are rewritten at each step. */
  #single: Inputs | undefined;
  /** The feeds of the last run, and the cache's feeds that they contain. */
  #feeds: DeviceFeeds = {};
  #madeWith: DeviceFeeds | undefined;
  #madeFor: Program | undefined;

  constructor(programs: Programs) {
    this.#programs = programs;
    this.#past = programs.cache("past");
    if (programs.hasEncoder) this.#cross = programs.cache("cross");
  }

  get slots(): readonly Slot[] {
    return this.#slots;
  }
  get capacity(): number {
    return this.#past.capacity;
  }
  /** The bytes of the rows' caches, with this many more rows of this many tokens. */
  bytes(more = 0, tokens = 0): number {
    const rows = this.#slots.length + more;
    return this.#past.bytes(rows, tokens) + (this.#cross?.bytes(rows) ?? 0);
  }
  /** The most tokens that a row still has to read. */
  get left(): number {
    let left = 0;
    for (const { pending } of this.#slots) left = Math.max(left, pending.length);
    return left;
  }
  /** Whether rows wait for the encoder. */
  get isEncoded(): boolean {
    return !this.#cross || this.#cross.lengths.length === this.#slots.length;
  }

  /** Makes room for this many more rows, and for rows of this many tokens. */
  reserve(rows: number, tokens: number): void {
    this.#past.reserve(this.#slots.length + rows, tokens);
  }

  /** Adds a slot. Its tokens are still to be read, or its first tokens are copied from another row. */
  add(slot: Slot, past?: KvRow, cross?: KvRow): void {
    this.#past.add(past, slot.tokens.length);
    if (cross) this.#cross?.add(cross);
    this.#slots.push(slot);
    this.#madeWith = undefined;
  }

  /** Removes a slot. */
  remove(slot: Slot): void {
    const row = this.#rowOf(slot);
    this.#past.remove(row);
    if (this.#cross && row < this.#cross.lengths.length) this.#cross.remove(row);
    const last = this.#slots.pop()!;
    if (last !== slot) this.#slots[row] = last;
    this.#madeWith = undefined;
  }

  /** Moves all slots of another batch into this one. */
  takeAll(from: RowBatch): void {
    this.reserve(from.#slots.length, Math.max(...from.#slots.map(({ length }) => length)));
    for (const slot of from.#slots) this.copy(slot, from, slot);
    from.empty();
  }

  /** Adds a slot that begins with the row of another. */
  copy(slot: Slot, from: RowBatch, of: Slot): void {
    const row = from.#rowOf(of);
    this.add(slot, from.#past.row(row), from.#cross?.row(row));
  }

  /** Marks all tokens of a slot as unread. */
  restart(slot: Slot): void {
    this.#past.clear(this.#rowOf(slot));
    slot.pending = [...slot.tokens, ...slot.pending];
    slot.tokens = [];
    slot.routed = [];
    this.#madeWith = undefined;
  }

  /** The cache of a slot; valid until the batch changes. */
  row(slot: Slot): KvRow {
    return this.#past.row(this.#rowOf(slot));
  }
  /** A copy of the cache of a slot. */
  copyOf(slot: Slot) {
    return this.#past.copyOf(this.#rowOf(slot));
  }

  /** Removes all rows. */
  empty(): void {
    this.#slots.length = 0;
    this.#past.empty();
    this.#cross?.empty();
    this.#madeWith = undefined;
  }

  #rowOf(slot: Slot): number {
    const row = this.#slots.indexOf(slot);
    invariant(row >= 0, "the slot stands in another batch");
    return row;
  }

  /** Reads the prompts of all rows. */
  async encode(): Promise<void> {
    const program = await this.#programs.of(kindOf(this.#slots));
    const { encode, feeds } = program;
    invariant(encode && this.#cross && this.#cross.lengths.length === 0, "rows are encoded once, together");
    const { ids, mask } = padded(this.#slots.map(({ prompt }) => prompt));
    const { fetched, kept } = await encode.runKeeping({ ...feeds, ...this.#rowFeeds(program), input_ids: ids, attention_mask: mask });
    const counts = this.#slots.map(({ prompt }) => prompt.length);
    this.#cross.reserve(counts.length, ids.shape[1]!);
    for (const _ of counts) this.#cross.add();
    await this.#cross.write(this.#programs.keeps ? kept : fetched, counts, "behind");
    if (this.#programs.routes) {
      routesOfRows(fetched, counts, "start").forEach((row, i) => {
        this.#slots[i]!.encoderRoutes = row;
      });
    }
    this.#madeWith = undefined;
  }

  /** Reads up to `width` pending tokens of each row. Rows that reach their last token get logits. Rows with fewer tokens than
   *  others join only the last runs, so that all rows end together. */
  async run(width: number): Promise<void> {
    const work = this.#slots.find((slot) => slot.work)?.work;
    const program = await this.#programs.of(kindOf(this.#slots), work);
    const left = this.left;
    const columns = Math.min(width, left, work?.kind === "scores" ? this.#mostScored : left);
    const counts = this.#slots.map(({ pending }) => Math.max(0, pending.length - (left - columns)));
    await this.#past.settle?.();
    await this.#cross?.settle?.();
    const results = await program.decode.runKeeping(
      Object.assign(
        this.#standing(program),
        this.#inputs(counts, columns),
        work?.kind === "scores" && { [LABELS]: this.#labels(counts, columns) },
      ),
    );
    const { fetched, kept } = results;
    let logits: ((row: number) => Logits) | undefined;
    try {
      await this.#past.write(this.#programs.keeps ? kept : fetched, counts);
      logits = await this.#logits(results, counts);
    } finally {
      kept.logits?.dispose();
    }
    const routed = this.#programs.routes ? routesOfRows(fetched, counts, "end") : undefined;
    for (let row = 0; row < counts.length; row++) {
      const [slot, count] = [this.#slots[row]!, counts[row]!];
      if (count === 0) continue;
      if (work) slot.reading!.take(fetched, row, columns, count);
      for (let i = 0; i < count; i++) slot.tokens.push(slot.pending[i]!);
      slot.pending.splice(0, count);
      if (routed) slot.routed.push({ count, routes: routed[row]! });
      if (work && slot.pending.length === 0) slot.reading!.finish();
      if (slot.pending.length === 0) slot.logits = logits?.(row);
    }
  }

  /** The logits of the rows that read their last token in a run. */
  #logits(results: Results, counts: readonly number[]): Promise<((row: number) => Logits) | undefined> {
    const ended = this.#slots.filter(({ pending }, row) => counts[row]! > 0 && pending.length === counts[row]);
    return this.#programs.logits(results, neededBy(ended));
  }

  /** The next counts[row] tokens of each row, padded on the left to `columns`. */
  #inputs(counts: readonly number[], columns: number): Inputs {
    const rows = counts.length;
    if (columns !== 1 || this.#single?.decoder_ids.shape[0] !== rows) {
      const made = { decoder_ids: int64([rows, columns]), decoder_mask: int64([rows, columns]), positions: int64([rows, columns]) };
      if (columns === 1) this.#single = made;
      return filled(made, this.#slots, counts, columns);
    }
    return filled(this.#single, this.#slots, counts, columns);
  }

  /** The most tokens of a row whose logits have room together. */
  get #mostScored(): number {
    return Math.max(1, Math.floor(LOGITS_BYTES / (4 * this.#programs.vocabularySize * this.#slots.length)));
  }
  /** The token after each of the tokens to read; 0 after the last. */
  #labels(counts: readonly number[], columns: number): HostTensor<"int64"> {
    const labels = int64([counts.length, columns]);
    for (const [row, { pending }] of this.#slots.entries()) {
      const count = counts[row]!;
      for (let i = 0; i < count; i++) labels.data[(row + 1) * columns - count + i] = BigInt(pending[i + 1] ?? 0);
    }
    return labels;
  }

  /** The feeds that stay the same until rows are added or removed, or the caches grow. */
  #standing(program: Program): DeviceFeeds {
    if (this.#madeWith === this.#past.feeds && this.#madeFor === program) return this.#feeds;
    this.#madeWith = this.#past.feeds;
    this.#madeFor = program;
    this.#feeds = { ...program.feeds, ...this.#rowFeeds(program), ...this.#crossFeeds(), ...this.#past.feeds };
    return this.#feeds;
  }

  #crossFeeds(): DeviceFeeds {
    if (!this.#cross) return {};
    const { lengths, feeds } = this.#cross;
    const capacity = Object.values(feeds)[0]!.shape[2]!;
    const mask = int64([lengths.length, capacity]);
    lengths.forEach((length, row) => {
      mask.data.fill(1n, row * capacity, row * capacity + length);
    });
    return { ...feeds, attention_mask: mask };
  }

  #rowFeeds({ takesRows, feedsOf }: Program): Feeds {
    if (!takesRows) return {};
    return feedsOf(stackedFeeds(this.#slots.map(({ rowFeeds }) => rowFeeds)));
  }
}

function filled(inputs: Inputs, slots: readonly Slot[], counts: readonly number[], columns: number): Inputs {
  const { decoder_ids: ids, decoder_mask: mask, positions } = inputs;
  for (let row = 0; row < counts.length; row++) {
    const [{ tokens, pending }, count] = [slots[row]!, counts[row]!];
    const end = (row + 1) * columns;
    if (columns === 1) mask.data[row] = BigInt(count);
    for (let i = 0; i < count; i++) {
      const at = end - count + i;
      ids.data[at] = BigInt(pending[i]!);
      mask.data[at] = 1n;
      positions.data[at] = BigInt(tokens.length + i);
    }
  }
  return inputs;
}
