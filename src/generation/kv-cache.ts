/** @file The keys and values of tokens already seen, on the host, in buffers the engine reads in place.
 *
 *      fed       [rows, heads, capacity, size]    one array for all rows; a row's first tokens are real
 *      fetched   [rows, heads, tokens, size]      written behind the row's last token
 *
 *  Fed arrays are not copied and fetched ones are, so only new tokens are ever fetched. Padding is never written: a token's
 *  slot is its place in the row. Rows stay side by side: the last one fills the place of one that leaves. */

import { invariant } from "../base/errors.ts";
import { type HostTensor, int64 } from "../base/tensor.ts";
import type { Tensor } from "../runtime/engine.ts";
import { type KvBuffer, type KvOptions, type KvRow, type KvStore, sizedFor } from "./kv-store.ts";

/** The numbers of a row in buffer i. Head h begins at start + h * stride. */
interface HeadsOfRow {
  readonly data: Float32Array;
  readonly start: number;
  readonly stride: number;
}
interface HostKvRow extends KvRow {
  heads(buffer: number): HeadsOfRow;
}

export class KvCache implements KvStore {
  readonly #buffers: readonly KvBuffer[];
  readonly #options: KvOptions;
  readonly #bytesPerSlot: number;
  readonly #data: Float32Array[];
  #lengths: number[] = [];
  #capacity: number;
  /** All slots of the arrays; divided by the capacity, they give the number of rows that fit. */
  #slots = 0;
  #feeds: Record<string, HostTensor> = {};
  #lengthsFeed = int64([0]);

  constructor(buffers: readonly KvBuffer[], options: KvOptions = {}) {
    this.#buffers = buffers;
    this.#options = options;
    this.#bytesPerSlot = buffers.reduce((sum, { heads, size }) => sum + heads * size, 0) * Float32Array.BYTES_PER_ELEMENT;
    this.#data = buffers.map(() => new Float32Array(0));
    this.#capacity = sizedFor(1, options);
    this.#describe();
  }

  get lengths(): readonly number[] {
    return this.#lengths;
  }
  get capacity(): number {
    return this.#capacity;
  }
  /** The arrays by name, and the lengths. It is a new object after rows are added or removed, or the capacity changes. */
  get feeds(): Readonly<Record<string, HostTensor>> {
    return this.#feeds;
  }

  bytes(rows = this.#lengths.length, longest = 0): number {
    return rows * this.#bytesPerSlot * Math.max(this.#capacity, sizedFor(longest, this.#options));
  }

  reserve(rows: number, tokens: number): void {
    const capacity = Math.max(this.#capacity, sizedFor(tokens, this.#options));
    const isFull = rows * capacity > this.#slots;
    this.#arrange(isFull ? Math.ceil((rows - 1) * 1.5) + 1 : rows, capacity);
  }

  add(source?: KvRow, length = source?.length ?? 0): number {
    invariant(!source || isOnHost(source), "a row on the device is not added to a cache on the host");
    const row = this.#lengths.length;
    this.reserve(row + 1, length);
    if (source) this.#copy(source, row, length);
    this.#lengths.push(length);
    this.#describe();
    return row;
  }

  remove(row: number): void {
    const last = this.#lengths.length - 1;
    if (row !== last) this.#copy(this.row(last), row, this.#lengths[last]!);
    this.#lengths[row] = this.#lengths[last]!;
    this.#lengths.pop();
    this.#fit();
    this.#describe();
  }

  clear(row: number): void {
    this.#lengths[row] = 0;
    this.#describe();
  }

  /** Removes all rows and keeps the arrays for new ones. */
  empty(): void {
    this.#lengths = [];
    this.#capacity = sizedFor(1, this.#options);
    this.#describe();
  }

  row(row: number): HostKvRow {
    return {
      length: this.#lengths[row]!,
      heads: (i) => {
        const { heads, size } = this.#buffers[i]!;
        return { data: this.#data[i]!, start: row * heads * this.#capacity * size, stride: this.#capacity * size };
      },
    };
  }

  copyOf(row: number, length = this.#lengths[row]!): HostKvRow & { readonly bytes: number } {
    const source = this.row(row);
    const copies = this.#buffers.map(({ heads, size }, i) => {
      const copy = new Float32Array(heads * length * size);
      copyHeads(source.heads(i), { data: copy, start: 0, stride: length * size }, heads, length * size);
      return copy;
    });
    const bytes = copies.reduce((sum, { byteLength }) => sum + byteLength, 0);
    return { length, bytes, heads: (i) => ({ data: copies[i]!, start: 0, stride: length * this.#buffers[i]!.size }) };
  }

  write(fetches: Readonly<Record<string, Tensor>>, counts: readonly number[], padding: "before" | "behind" = "before"): void {
    let longest = 0;
    for (let row = 0; row < counts.length; row++) longest = Math.max(longest, this.#lengths[row]! + counts[row]!);
    if (longest > this.#capacity) {
      this.#arrange(this.#lengths.length, sizedFor(longest, this.#options));
      this.#describe();
    }
    for (let i = 0; i < this.#buffers.length; i++) {
      const { fetched, heads, size } = this.#buffers[i]!;
      const fresh = fetches[fetched] as HostTensor<"float32"> | undefined;
      if (!fresh) invariant(false, `${fetched} was not fetched`);
      const [tokens, data] = [fresh.shape[2]!, this.#data[i]!];
      for (let row = 0; row < counts.length; row++) {
        const numbers = counts[row]! * size;
        if (numbers === 0) continue;
        for (let head = row * heads; head < (row + 1) * heads; head++) {
          const start = padding === "behind" ? head * tokens * size : (head + 1) * tokens * size - numbers;
          data.set(fresh.data.subarray(start, start + numbers), (head * this.#capacity + this.#lengths[row]!) * size);
        }
      }
    }
    for (let row = 0; row < counts.length; row++) {
      this.#lengths[row]! += counts[row]!;
      this.#lengthsFeed.data[row] = BigInt(this.#lengths[row]!);
    }
  }

  #copy(source: HostKvRow, row: number, length: number): void {
    const target = this.row(row);
    this.#buffers.forEach(({ heads, size }, i) => {
      copyHeads(source.heads(i), target.heads(i), heads, length * size);
    });
  }

  /** Frees memory if most of it is unused, and reduces the capacity if the remaining rows are much shorter. */
  #fit(): void {
    const rows = this.#lengths.length;
    this.#arrange(rows, Math.min(this.#capacity, sizedFor(Math.max(0, ...this.#lengths) * 1.25, this.#options)));
    if (rows * this.#capacity * 4 <= this.#slots) this.#allocate(rows * 2 * this.#capacity);
  }

  /** Gives each row this many slots, in arrays for this many rows. Arrays that are large enough are changed in place. */
  #arrange(rows: number, capacity: number): void {
    const old = this.#capacity;
    if (rows * capacity > this.#slots) this.#allocate(rows * capacity, capacity);
    if (capacity === this.#capacity) return;
    this.#capacity = capacity;
    this.#buffers.forEach(({ heads, size }, i) => {
      const all = this.#lengths.length * heads;
      // Rows that move to higher addresses are moved from the last to the first, so that none is overwritten.
      for (let step = 0; step < all; step++) {
        const head = capacity > old ? all - 1 - step : step;
        const numbers = this.#lengths[Math.floor(head / heads)]! * size;
        this.#data[i]!.copyWithin(head * capacity * size, head * old * size, head * old * size + numbers);
      }
    });
  }

  #allocate(slots: number, capacity = this.#capacity): void {
    const sources = this.#lengths.map((_, row) => this.#buffers.map((_, i) => this.row(row).heads(i)));
    this.#buffers.forEach(({ heads, size }, i) => {
      const data = new Float32Array(slots * heads * size);
      this.#lengths.forEach((length, row) => {
        const target = { data, start: row * heads * capacity * size, stride: capacity * size };
        copyHeads(sources[row]![i]!, target, heads, length * size);
      });
      this.#data[i] = data;
    });
    [this.#slots, this.#capacity] = [slots, capacity];
  }

  #describe(): void {
    const rows = this.#lengths.length;
    this.#lengthsFeed = int64([rows], this.#lengths);
    this.#feeds = this.#options.lengths ? { [this.#options.lengths]: this.#lengthsFeed } : {};
    this.#buffers.forEach(({ fed, heads, size }, i) => {
      const shape = [rows, heads, this.#capacity, size];
      this.#feeds[fed] = { dtype: "float32", shape, data: this.#data[i]!.subarray(0, rows * heads * this.#capacity * size) };
    });
  }
}

function isOnHost(row: KvRow): row is HostKvRow {
  return "heads" in row;
}

/** Copies the first `numbers` of each head. */
function copyHeads(from: HeadsOfRow, to: HeadsOfRow, heads: number, numbers: number): void {
  for (let head = 0; head < heads; head++) {
    const start = from.start + head * from.stride;
    to.data.set(from.data.subarray(start, start + numbers), to.start + head * to.stride);
  }
}
