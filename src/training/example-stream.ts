/** @file Batches of a large file, encoded as they are needed.
 *
 *  The order is that of `exampleOrder` over the rows: epochs of the shuffled rows, one after the other. A row that gives several
 *  sequences gives them in turn, and one that gives none is passed over, so that every batch has its full size. The place in this stream is
 *  saved with the state of a run. */

import { DataError } from "../base/errors.ts";
import { derivedSeed, seededRandom, shuffledNumbers } from "../base/random.ts";
import type { ExampleFile, PlacedExample } from "../data/example-file.ts";
import type { Architecture } from "../models/architecture.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { Encoded } from "./batches.ts";
import { type Cut, checkEncodable, type EncodeLimits, encodedRow, hasLearned, isLearned, nothingToLearn } from "./examples.ts";
import { packer } from "./packing.ts";

/** Batches that are made one after another. */
export interface BatchSource {
  next(batchSize: number): Promise<readonly Encoded[]>;
  /** The place after the last batch, as text. */
  readonly place: string;
  /** Goes to a place. */
  seek(place: string): void;
  /** Called after each step with its duration in milliseconds. */
  afterStep(milliseconds: number): Promise<void>;
  /** Called after the last step. */
  finish(): Promise<void>;
}

export interface StreamOptions extends EncodeLimits {
  readonly tokenizer: Tokenizer;
  readonly architecture: Architecture;
  readonly seed: number;
  /** The length of packed rows; no packing without it. */
  readonly packTo?: number | undefined;
  /** Called after the last step, when all rows are checked. */
  readonly onFinish?: (counts: StreamCounts) => void;
}

/** What became of the rows that were read so far. */
export interface StreamCounts {
  readonly sequences: number;
  readonly truncated: number;
  readonly emptied: number;
  readonly unlearned: number;
  readonly notes: ReadonlyMap<string, number>;
}

interface Pending {
  /** Its place among the rows of all epochs, and among the sequences of its row. */
  readonly row: number;
  readonly part: number;
  readonly sequence: Encoded;
  readonly turnEnds: readonly number[];
}

const SHARE = 0.2; // of a step's time goes to checking rows, until all are checked
const LEAST = 5; // milliseconds

export class ExampleStream implements BatchSource {
  readonly #file: ExampleFile;
  readonly #options: StreamOptions;
  readonly #pending: Pending[] = [];
  readonly #ends = new Set<number>();
  readonly #notes = new Map<string, number>();
  #counts = { sequences: 0, truncated: 0, emptied: 0, unlearned: 0 };
  /** The next row to read, and how many of its first sequences to skip. */
  #row = 0;
  #skip = 0;
  #barren = 0; // consecutive rows that gave nothing to learn
  #order: { readonly epoch: number; readonly rows: Uint32Array } | undefined;

  constructor(file: ExampleFile, options: StreamOptions) {
    this.#file = file;
    this.#options = options;
  }

  /** Token ids that ended turns so far. */
  get turnEnds(): readonly number[] {
    return [...this.#ends];
  }
  get counts(): StreamCounts {
    return { ...this.#counts, notes: this.#notes };
  }
  get place(): string {
    const { row, part } = this.#pending[0] ?? { row: this.#row, part: this.#skip };
    return JSON.stringify({ row, part, turnEnds: this.turnEnds });
  }
  seek(place: string): void {
    const { row, part, turnEnds } = JSON.parse(place) as { row: number; part: number; turnEnds: readonly number[] };
    this.#pending.length = 0;
    [this.#row, this.#skip] = [row, part];
    for (const id of turnEnds) this.#ends.add(id);
  }

  async next(batchSize: number): Promise<readonly Encoded[]> {
    const { packTo } = this.#options;
    if (packTo !== undefined) return this.#packed(batchSize, packTo);
    const batch: Encoded[] = [];
    while (batch.length < batchSize) {
      if (this.#pending.length === 0) await this.#read(batchSize - batch.length);
      for (const taken of this.#pending.splice(0, batchSize - batch.length)) batch.push(this.#taken(taken));
    }
    return batch;
  }

  async #packed(batchSize: number, packTo: number): Promise<readonly Encoded[]> {
    const packing = packer(packTo, batchSize);
    for (;;) {
      if (this.#pending.length === 0) await this.#read(batchSize);
      const first = this.#pending[0];
      if (!first) continue;
      if (!packing.add(first.sequence)) return packing.rows;
      this.#taken(this.#pending.shift()!);
    }
  }

  #taken({ sequence, turnEnds }: Pending): Encoded {
    for (const id of turnEnds) this.#ends.add(id);
    return sequence;
  }

  /** Reads and encodes the next rows of the order. */
  async #read(count: number): Promise<void> {
    const positions = Array.from({ length: count }, (_, i) => this.#row + i);
    const rows = positions.map((position) => this.#rowAt(position));
    const examples = await this.orAllBadRows(() => this.#file.examples(rows));
    for (const [i, placed] of examples.entries()) {
      const skip = i === 0 ? this.#skip : 0;
      if (!isLearned(placed.example)) this.#counts.unlearned++;
      const cuts = await this.orAllBadRows(() => encodedRow(placed.example, this.#encoding(placed)));
      this.#add(cuts.slice(skip), { row: positions[i]!, part: skip });
    }
    [this.#row, this.#skip] = [this.#row + count, 0];
    if (this.#pending.length > 0) this.#barren = 0;
    else this.#barren += count;
    if (this.#barren >= this.#file.count) throw nothingToLearn(this.#counts.emptied, this.#options);
  }

  #rowAt(position: number): number {
    const { count } = this.#file;
    const epoch = Math.floor(position / count);
    if (this.#order?.epoch !== epoch) {
      this.#order = { epoch, rows: shuffledNumbers(count, seededRandom(derivedSeed(this.#options.seed, "epoch", epoch))) };
    }
    return this.#order.rows[position % count]!;
  }

  /** What `work` gives. If it meets a bad row, the error names all bad rows of the file. */
  async orAllBadRows<T>(work: () => T | Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof DataError) await this.checkAll();
      throw error;
    }
  }

  #add(cuts: readonly Cut[], first: { row: number; part: number }): void {
    for (const [i, { inputs, labels, isCut, turnEnds = [] }] of cuts.entries()) {
      const sequence = { inputs, labels };
      this.#counts.sequences++;
      if (isCut) this.#counts.truncated++;
      if (hasLearned(sequence)) this.#pending.push({ row: first.row, part: first.part + i, sequence, turnEnds });
      else this.#counts.emptied++;
    }
  }

  #encoding({ where }: PlacedExample) {
    const onNote = (note: string): void => void this.#notes.set(note, (this.#notes.get(note) ?? 0) + 1);
    return { ...this.#options, where, onNote };
  }

  /** Checks every row that is not checked yet. */
  async checkAll(): Promise<void> {
    await this.#check(Number.POSITIVE_INFINITY);
  }
  async afterStep(milliseconds: number): Promise<void> {
    await this.#check(Math.max(LEAST, SHARE * milliseconds));
  }
  async finish(): Promise<void> {
    await this.checkAll();
    this.#options.onFinish?.(this.counts);
  }
  async #check(milliseconds: number): Promise<void> {
    const examine = ({ example, where }: PlacedExample) => checkEncodable(example, { ...this.#options, where, onNote: () => {} });
    await this.#file.check(examine, milliseconds);
  }
}
