/** @file Sequences that grow token by token, in parallel. Only the keys and values of earlier tokens are kept, so a step
 *  computes one token for each sequence.
 *
 *      admit(tokens) -> slot     its tokens are read in chunks, in parallel with others
 *      step()        -> slots    that have read all their tokens, with logits after the last
 *      push(slot, token)         the next token of a slot
 *      fork(slot)    -> slot     another sequence that continues the same tokens
 *      release(slot)             removes it
 *
 *  Slots are added and removed between steps. The numbers of a slot do not depend on other slots. A prompt is read in a separate
 *  batch until it can join the rows that read one token per step. */

import { invariant } from "../base/errors.ts";
import type { Model } from "../inference/model.ts";
import type { Woven } from "../inference/woven.ts";
import type { Architecture } from "../models/architecture.ts";
import { sameFeeds } from "./feeds.ts";
import type { KvRow } from "./kv-store.ts";
import { Programs } from "./program.ts";
import type { PromptWork } from "./prompt-reading.ts";
import { firstRoutes } from "./routes.ts";
import { RowBatch } from "./row-batch.ts";
import { checkPrompt, Slot, type SlotOptions, sharedLength } from "./slot.ts";

export interface DecoderOptions {
  /** The most tokens of a row read in one run. Default 256. */
  readonly chunk?: number;
  /** Slots record the route of each token. */
  readonly routes?: boolean;
}

export interface AdmitOptions extends Pick<SlotOptions, "rowFeeds" | "alone" | "work" | "candidates"> {
  /** Tokens that follow the prompt, if the sequence was begun in another decoder. */
  readonly generated?: readonly number[];
  /** The cache of the first tokens, with their routes if the decoder has routes. */
  readonly known?: KnownTokens | undefined;
}
export interface KnownTokens {
  readonly row: KvRow;
  readonly length: number;
  readonly routed: Slot["routed"];
}

const CHUNK = 256; // long enough to fill two cores, short enough that scores stay small
const ROWS_READ = 16; // in parallel, so that a run has at most chunk * 16 tokens
const SHORT = 64; // shorter rows are read together, even if their lengths differ

export class Decoder {
  readonly #architecture: Architecture;
  /** Whether a token's numbers depend on the whole row, in the form in which it was read. */
  readonly #readsWholeRows: boolean;
  readonly #programs: Programs;
  readonly #chunk: number;
  /** For a sequence's length, the length up to which its keys stay valid; undefined if they always stay valid. */
  readonly #steadyUntil: ((length: number) => number) | undefined;
  /** Rows that read one token per step. */
  #running: RowBatch;
  /** Prompts that are being read, in turns. */
  #reading: RowBatch[] = [];
  /** An empty batch. Its arrays are reused for the next prompts. */
  #spare: RowBatch | undefined;
  /** Single rows whose keys depend on their length, with the length up to which the keys are valid. */
  readonly #alone = new Map<RowBatch, number>();
  readonly #places = new Map<Slot, RowBatch>();

  private constructor({ base: { architecture }, woven }: Model, programs: Programs, chunk: number) {
    this.#architecture = architecture;
    this.#readsWholeRows = woven.readsWholeRows ?? false;
    this.#programs = programs;
    this.#chunk = chunk;
    this.#running = new RowBatch(programs);
    this.#steadyUntil = architecture.kind === "decoder-only" ? architecture.steadyUntil : undefined;
  }

  /** Keeps the model's sessions until it is closed. */
  static async open(model: Model, { chunk = CHUNK, routes = false }: DecoderOptions = {}): Promise<Decoder> {
    const programs = new Programs(model, routes);
    await programs.of(model.woven.alone);
    return new Decoder(model, programs, chunk);
  }
  /** Releases the sessions, and the caches of the slots that are here. */
  close(): void {
    for (const batch of new Set(this.#places.values())) batch.empty();
    this.#programs.close();
  }

  /** Whether rows of this kind can be computed now beside those that are here. */
  isOpenFor(alone: Woven | undefined): boolean {
    return this.#kindsWith(alone).every((kind) => this.#programs.isOpen(kind));
  }
  /** Opens the graphs that rows of this kind need beside those that are here. */
  async openFor(alone: Woven | undefined): Promise<void> {
    for (const kind of this.#kindsWith(alone)) await this.#programs.of(kind);
  }
  #kindsWith(alone: Woven | undefined): readonly (Woven | undefined)[] {
    const isMixed = alone !== undefined && this.slots.some((slot) => slot.alone?.id !== alone.id);
    return isMixed ? [alone, undefined] : [alone];
  }

  get slots(): readonly Slot[] {
    return [...this.#places.keys()];
  }
  /** Tokens that slots still have to read, without the next token of the running ones. */
  get isReading(): boolean {
    return this.#reading.length > 0;
  }
  /** The cache capacity of a running row. */
  get capacity(): number {
    return this.#running.capacity;
  }
  /** Bytes of all caches with one more row of this many tokens. */
  bytesWith(tokens: number): number {
    return this.bytes + this.#running.bytes(1, tokens) - this.#running.bytes();
  }
  get bytes(): number {
    return [this.#running, ...this.#reading, ...this.#alone.keys()].reduce((sum, batch) => sum + batch.bytes(), 0);
  }
  /** Bytes of all caches after the next step. */
  get nextBytes(): number {
    const longest = Math.max(0, ...this.#running.slots.map(({ length }) => length));
    return this.bytes + this.#running.bytes(0, longest) - this.#running.bytes();
  }

  /** Adds a prompt. A prompt that the model cannot read is refused. */
  admit(prompt: readonly number[], { rowFeeds = {}, generated = [], known, ...options }: AdmitOptions = {}): Slot {
    const architecture = this.#architecture;
    checkPrompt(prompt, architecture);
    const isEncoded = architecture.kind === "encoder-decoder";
    const slot = new Slot([...(isEncoded ? [architecture.decoderStartId] : prompt), ...generated], { ...options, rowFeeds, prompt });
    if (!this.#isSteady(slot)) return this.#placeAlone(slot);
    const length = Math.min(known?.length ?? 0, slot.length - 1);
    slot.tokens = slot.pending.splice(0, length);
    slot.routed = known ? firstRouted(known.routed, length) : [];
    const batch = slot.pending.length === 1 && !isEncoded && !options.work ? this.#running : this.#nurseryFor(slot);
    batch.reserve(1, slot.length);
    batch.add(slot, known?.row);
    this.#places.set(slot, batch);
    return slot;
  }

  /** Adds the tokens that follow those of a slot. */
  push(slot: Slot, ...tokens: readonly number[]): void {
    slot.pending.push(...tokens);
    slot.logits = undefined;
  }

  /** A new slot with the contents of `slot`, including its logits. */
  fork(slot: Slot): Slot {
    const from = this.#placeOf(slot);
    const { prompt, rowFeeds, alone, candidates } = slot;
    const copy = new Slot(slot.pending, { prompt, rowFeeds, alone, candidates });
    Object.assign(copy, { tokens: [...slot.tokens], logits: slot.logits, routed: [...slot.routed], encoderRoutes: slot.encoderRoutes });
    const until = this.#alone.get(from);
    const to = until === undefined ? from : new RowBatch(this.#programs);
    if (until !== undefined) this.#alone.set(to, until);
    to.copy(copy, from, slot);
    this.#places.set(copy, to);
    return copy;
  }

  release(slot: Slot): void {
    const batch = this.#placeOf(slot);
    batch.remove(slot);
    this.#places.delete(slot);
    if (batch.slots.length > 0) return;
    this.#alone.delete(batch);
    this.#reading = this.#reading.filter((other) => other !== batch);
  }

  /** A copy of a slot's cache that outlives the slot; undefined if no other sequence can use it. */
  keep(slot: Slot): (KnownTokens & { readonly bytes: number }) | undefined {
    const batch = this.#placeOf(slot);
    if (!this.#isShareable || this.#alone.has(batch) || slot.tokens.length === 0) return undefined;
    const row = batch.copyOf(slot);
    return { row, length: row.length, bytes: row.bytes, routed: [...slot.routed] };
  }

  /** The slot that holds the most of these first tokens, with their number; and how many more tokens a slot shares that is still being read. */
  shared(tokens: readonly number[], rowFeeds: SlotOptions["rowFeeds"] = {}) {
    let [held, coming, of]: [number, number, Slot | undefined] = [0, 0, undefined];
    if (!this.#isShareable) return { held, coming, of };
    for (const [slot, batch] of this.#places) {
      if (this.#alone.has(batch) || !sameFeeds(slot.rowFeeds, rowFeeds)) continue;
      const length = sharedLength(slot.tokens, tokens);
      if (length > held) [held, of] = [length, slot];
      if (length === slot.tokens.length) coming = Math.max(coming, length + sharedLength(slot.pending, tokens.slice(length)));
    }
    return { held, coming, of };
  }
  /** The cache of a slot. It must be copied immediately. */
  known(slot: Slot, length: number): KnownTokens {
    return { row: this.#placeOf(slot).row(slot), length, routed: slot.routed };
  }

  /** Runs a decode step for the slots that have a token to read, then reads a chunk of a prompt. */
  async step(): Promise<readonly Slot[]> {
    return [...(await this.decode()), ...(await this.read())];
  }

  /** One step of the running slots. */
  async decode(): Promise<readonly Slot[]> {
    if (this.#steadyUntil) for (const slot of [...this.#running.slots]) if (!this.#isSteady(slot)) this.#separate(slot);
    const done = await finished(this.#running, () => this.#running.run(this.#chunk));
    for (const [batch, until] of [...this.#alone]) {
      const slot = batch.slots[0]!;
      const next = this.#steadyUntil!(slot.length);
      if (slot.pending.length > 0 && next !== until) batch.restart(slot);
      this.#alone.set(batch, next);
      // The row is read whole: a chunk of it would get the positions of a shorter sequence.
      done.push(...(await finished(batch, () => batch.run(Number.POSITIVE_INFINITY))));
    }
    return done;
  }

  /** Reads one chunk of the prompts whose turn it is. The chunk has at most this many tokens, if that does not change their numbers. */
  async read(budget = Number.POSITIVE_INFINITY): Promise<readonly Slot[]> {
    const batch = this.#reading.shift();
    if (!batch) return [];
    if (!batch.isEncoded) {
      await batch.encode();
      if (batch.left <= 1) {
        this.#join(batch);
        return [];
      }
    }
    const width = this.#readsWholeRows ? this.#chunk : Math.min(this.#chunk, Math.max(1, Math.floor(budget / batch.slots.length)));
    const done = await finished(batch, () => batch.run(width));
    if (batch.left > 0) this.#reading.push(batch);
    else this.#join(batch);
    return done;
  }

  get #isShareable(): boolean {
    return this.#architecture.kind === "decoder-only" && !this.#readsWholeRows;
  }
  #placeOf(slot: Slot): RowBatch {
    const batch = this.#places.get(slot);
    invariant(batch, "the slot is not in this decoder");
    return batch;
  }

  #isSteady({ length }: Slot): boolean {
    return !this.#steadyUntil || this.#steadyUntil(length) === this.#steadyUntil(1);
  }
  #placeAlone(slot: Slot): Slot {
    const batch = new RowBatch(this.#programs);
    batch.reserve(1, slot.length);
    batch.add(slot);
    this.#alone.set(batch, this.#steadyUntil!(slot.length));
    this.#places.set(slot, batch);
    return slot;
  }
  /** A row whose keys are no longer valid. */
  #separate(slot: Slot): void {
    this.#running.restart(slot);
    this.#running.remove(slot);
    this.#placeAlone(slot);
  }

  /** Moves rows that have read their prompt to the running rows. */
  #join(batch: RowBatch): void {
    if (this.#running.slots.length === 0) [this.#running, this.#spare] = [batch, this.#running];
    else {
      this.#running.takeAll(batch);
      this.#spare = batch;
    }
    for (const slot of this.#running.slots) this.#places.set(slot, this.#running);
  }

  /** The batch that reads a new prompt: a batch of prompts of similar length, or a new one. */
  #nurseryFor(slot: Slot): RowBatch {
    const own = slot.pending.length;
    const fitting = this.#reading.find((batch) => {
      const [first] = batch.slots;
      // Rows of one kind have a cheaper graph than rows of several.
      if (first && (first.alone?.id !== slot.alone?.id || !isSameWork(first.work, slot.work))) return false;
      const isFull = batch.slots.length >= ROWS_READ || (batch.isEncoded && this.#programs.hasEncoder);
      if (isFull || (batch.slots.some(({ tokens }) => tokens.length > 0) && this.#readsWholeRows)) return false;
      const lengths = batch.slots.map(({ prompt, pending }) => (this.#programs.hasEncoder ? prompt.length : pending.length));
      const length = this.#programs.hasEncoder ? slot.prompt.length : own;
      if (this.#readsWholeRows) return lengths.every((other) => other === length);
      const [least, most] = [Math.min(length, ...lengths), Math.max(length, ...lengths)];
      return most <= SHORT || most <= 2 * least;
    });
    if (fitting) return fitting;
    const batch = this.#spare ?? new RowBatch(this.#programs);
    this.#spare = undefined;
    this.#reading.push(batch);
    return batch;
  }
}

function isSameWork(a: PromptWork | undefined, b: PromptWork | undefined): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** Runs a batch that has tokens to read; returns the slots that have read all their tokens. */
async function finished(batch: RowBatch, run: () => Promise<void>): Promise<Slot[]> {
  const waiting = batch.slots.filter(({ pending }) => pending.length > 0);
  if (waiting.length === 0) return [];
  await run();
  return waiting.filter(({ pending }) => pending.length === 0);
}

/** The routes of the first `length` tokens. */
function firstRouted(routed: Slot["routed"], length: number): Slot["routed"] {
  const first: Slot["routed"] = [];
  let left = length;
  for (const piece of routed) {
    if (left === 0) break;
    const count = Math.min(left, piece.count);
    first.push(count === piece.count ? piece : { count, routes: firstRoutes(piece.routes, count, piece.count) });
    left -= count;
  }
  return first;
}
