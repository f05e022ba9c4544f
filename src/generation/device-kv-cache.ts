/** @file The keys and values of tokens already seen, on the device.
 *
 *  The arrays of some rows are a block. A block never changes: a step makes the next one from it and the new tokens, and the old one is
 *  disposed of when no row refers to it. Rows refer to a place in a block, so adding, copying and removing them only changes references. Before
 *  the next run, the rows are gathered into one block if they are not one already. */

import { invariant } from "../base/errors.ts";
import { float32, int64 } from "../base/tensor.ts";
import { type DeviceFeeds, disposeAll, type Tensor } from "../runtime/engine.ts";
import type { KvGraphs } from "./kv-graphs.ts";
import { type KvBuffer, type KvOptions, type KvRow, type KvStore, sizedFor } from "./kv-store.ts";

/** The arrays of some rows, one for each buffer: [rows, heads, capacity, size]. Disposed of with its last user. */
class Block {
  readonly rows: number;
  readonly capacity: number;
  readonly tensors: Promise<readonly Tensor[]>;
  #users = 0;

  constructor(rows: number, capacity: number, tensors: Promise<readonly Tensor[]>) {
    this.rows = rows;
    this.capacity = capacity;
    this.tensors = tensors;
    tensors.catch(() => {}); // whoever uses the block has the error
  }
  retain(): this {
    this.#users++;
    return this;
  }
  release(): void {
    this.#users--;
    if (this.#users > 0) return;
    void this.tensors.then(disposeAll, () => {});
  }
}

/** A row of a block. A row without tokens may have none. */
interface DeviceKvRow extends KvRow {
  readonly block: Block | undefined;
  readonly row: number;
}

export class DeviceKvCache implements KvStore {
  readonly #graphs: KvGraphs;
  readonly #options: KvOptions;
  readonly #bytesPerSlot: number;
  #rows: DeviceKvRow[] = [];
  #capacity: number;
  #feeds: DeviceFeeds = {};

  constructor(graphs: KvGraphs, options: KvOptions = {}) {
    this.#graphs = graphs;
    this.#options = options;
    this.#bytesPerSlot = bytesPerSlot(graphs.buffers);
    this.#capacity = sizedFor(1, options);
  }

  get lengths(): readonly number[] {
    return this.#rows.map(({ length }) => length);
  }
  get capacity(): number {
    return this.#capacity;
  }
  /** Of the last `settle`. */
  get feeds(): DeviceFeeds {
    return this.#feeds;
  }

  bytes(rows = this.#rows.length, longest = 0): number {
    return rows * this.#bytesPerSlot * Math.max(this.#capacity, sizedFor(longest, this.#options));
  }
  reserve(_rows: number, tokens: number): void {
    this.#capacity = Math.max(this.#capacity, sizedFor(tokens, this.#options));
  }

  add(source?: KvRow, length = source?.length ?? 0): number {
    invariant(!source || isPlaced(source), "a row on the host is not added to a cache on the device");
    this.reserve(this.#rows.length + 1, length);
    return this.#rows.push(placed(source?.block, source?.row ?? 0, length)) - 1;
  }
  remove(row: number): void {
    this.#rows[row]!.block?.release();
    const last = this.#rows.pop()!;
    if (row < this.#rows.length) this.#rows[row] = last;
    const longest = Math.max(0, ...this.lengths);
    this.#capacity = Math.min(this.#capacity, sizedFor(longest * 1.25, this.#options));
  }
  clear(row: number): void {
    this.#rows[row]!.block?.release();
    this.#rows[row] = placed(undefined, 0, 0);
  }
  empty(): void {
    for (const { block } of this.#rows) block?.release();
    this.#rows = [];
    this.#feeds = {};
    this.#capacity = sizedFor(1, this.#options);
  }

  row(row: number): DeviceKvRow {
    return this.#rows[row]!;
  }
  /** A block of its own, which the caller disposes of. */
  copyOf(row: number, length = this.#rows[row]!.length): DeviceKvRow & { readonly bytes: number } {
    const { block, row: place } = this.#rows[row]!;
    const capacity = sizedFor(length, { complete: true });
    const copy = block && this.#arranged(block, [place], capacity).retain();
    return { length, block: copy, row: 0, bytes: capacity * this.#bytesPerSlot, dispose: () => copy?.release() };
  }

  /** Gathers the rows into one block, and makes the feeds. */
  async settle(): Promise<void> {
    const { tensors } = await this.#whole();
    const feeds: Record<string, Tensor> = Object.fromEntries(this.#graphs.buffers.map(({ fed }, i) => [fed, tensors[i]!]));
    if (this.#options.lengths) feeds[this.#options.lengths] = int64([this.#rows.length], this.lengths);
    this.#feeds = feeds;
  }

  async write(values: Readonly<Record<string, Tensor>>, counts: readonly number[], padding: "before" | "behind" = "before"): Promise<void> {
    const fresh = this.#graphs.buffers.map(({ fetched }) => values[fetched]!);
    for (const [i, tensor] of fresh.entries()) invariant(tensor, `${this.#graphs.buffers[i]!.fetched} was not kept on the device`);
    const tokens = fresh[0]!.shape[2]!;
    if (padding === "behind" && this.lengths.every((length) => length === 0)) {
      this.#replace(new Block(counts.length, tokens, Promise.resolve(fresh)), counts);
      return;
    }
    try {
      this.#replace(await this.#written(fresh, tokens, counts, padding), counts);
    } finally {
      disposeAll(fresh);
    }
  }

  async #written(fresh: readonly Tensor[], tokens: number, counts: readonly number[], padding: "before" | "behind"): Promise<Block> {
    const lengths = this.lengths;
    const longest = Math.max(...counts.map((count, row) => count + lengths[row]!));
    this.reserve(counts.length, longest);
    let { block } = await this.#whole();
    if (longest > block.capacity) block = this.#arranged(block, [...counts.keys()], this.#capacity);
    block.retain();
    try {
      const old = await block.tensors;
      if (tokens === 1) {
        const at = counts.map((count, row) => (count > 0 ? lengths[row]! : -1));
        return await made(counts.length, block.capacity, this.#graphs.writeOne(old, fresh, at));
      }
      const source = new BigInt64Array(counts.length * block.capacity).fill(-1n);
      counts.forEach((count, row) => {
        const [slot, first] = [row * block.capacity + lengths[row]!, row * tokens + (padding === "behind" ? 0 : tokens - count)];
        for (let i = 0; i < count; i++) source[slot + i] = BigInt(first + i);
      });
      return await made(counts.length, block.capacity, this.#graphs.write(old, fresh, source, counts.length));
    } finally {
      block.release();
    }
  }

  /** All rows as one block, in their order. */
  async #whole(): Promise<{ readonly block: Block; readonly tensors: readonly Tensor[] }> {
    const [first] = this.#rows;
    const isWhole = this.#rows.every(({ block, row }, i) => block && block === first!.block && row === i);
    if (!first?.block || !isWhole || first.block.rows !== this.#rows.length || first.block.capacity > this.#capacity) {
      const block = await this.#gathered();
      this.#replace(block);
      return { block, tensors: await block.tensors };
    }
    return { block: first.block, tensors: await first.block.tensors };
  }

  async #gathered(): Promise<Block> {
    const blocks = [...new Set(this.#rows.flatMap(({ block }) => block ?? []))];
    if (blocks.length === 0) return emptyBlock(this.#graphs.buffers, this.#rows.length);
    // A row without tokens takes the numbers of any other: nobody reads them.
    const chosen = this.#rows.map(({ block, row }) => (block ? { block, row } : { block: blocks[0]!, row: 0 }));
    const most = Math.max(...this.#rows.map(({ length }) => length));
    const capacity = Math.min(this.#capacity, Math.max(sizedFor(most, this.#options), ...blocks.map((block) => block.capacity)));
    const order: number[] = [];
    let whole: Block | undefined;
    for (const block of blocks) {
      const rows = [...chosen.keys()].filter((i) => chosen[i]!.block === block);
      order.push(...rows);
      const places = rows.map((i) => chosen[i]!.row);
      const part = this.#arranged(block, places, capacity);
      whole = whole ? this.#joined(whole, part) : part;
    }
    if (order.every((row, i) => row === i)) return whole!;
    const places = chosen.map((_, row) => order.indexOf(row));
    return this.#arranged(whole!, places, capacity);
  }

  #arranged(from: Block, rows: readonly number[], capacity: number): Block {
    return derived([from], rows.length, capacity, ([old]) => this.#graphs.arrange(old!, rows, capacity));
  }
  #joined(one: Block, other: Block): Block {
    return derived([one, other], one.rows + other.rows, one.capacity, ([a, b]) => this.#graphs.join(a!, b!));
  }

  /** Puts all rows into this block; they have this many more tokens. */
  #replace(block: Block, counts?: readonly number[]): void {
    this.#rows = this.#rows.map((old, row) => {
      const next = placed(block, row, old.length + (counts?.[row] ?? 0));
      old.block?.release();
      return next;
    });
  }
}

function isPlaced(row: KvRow): row is DeviceKvRow {
  return "block" in row;
}

function placed(block: Block | undefined, row: number, length: number): DeviceKvRow {
  return { block: block?.retain(), row, length };
}

/** A block made from others, which stay until it is made. */
function derived(
  sources: readonly Block[],
  rows: number,
  capacity: number,
  make: (tensors: readonly (readonly Tensor[])[]) => Promise<readonly Tensor[]>,
): Block {
  for (const source of sources) source.retain();
  const tensors = Promise.all(sources.map((source) => source.tensors))
    .then(make)
    .finally(() => {
      for (const source of sources) source.release();
    });
  return new Block(rows, capacity, tensors);
}

async function made(rows: number, capacity: number, tensors: Promise<readonly Tensor[]>): Promise<Block> {
  await tensors;
  return new Block(rows, capacity, tensors);
}

/** Rows without tokens. One slot each is enough. */
function emptyBlock(buffers: readonly KvBuffer[], rows: number): Block {
  return new Block(rows, 1, Promise.resolve(buffers.map(({ heads, size }) => float32([rows, heads, 1, size]))));
}

function bytesPerSlot(buffers: readonly KvBuffer[]): number {
  return buffers.reduce((sum, { heads, size }) => sum + heads * size, 0) * Float32Array.BYTES_PER_ELEMENT;
}
