/** @file The keys and values of tokens already seen, on the host, in buffers the engine reads in place.
 *
 *      <path>.past.keys, <path>.past.values   [rows, kvHeads, capacity, size]   fed
 *      <path>.new.keys,  <path>.new.values    [rows, kvHeads, tokens, size]     fetched, and written behind the row's last slot
 *
 *  Fed arrays are not copied and fetched ones are, so only the new tokens are ever fetched. Padding is never written: the
 *  slot of a token is its position, and one length per row says which slots are real. Buffers double when they are full. */

import { invariant } from "../base/errors.ts";
import { float32, type HostTensor, int64 } from "../base/tensor.ts";
import type { Fetches } from "../runtime/session.ts";

/** One attention's cache: kvHeads heads of `size` numbers a token. */
export interface CacheShape {
  readonly path: string;
  readonly kvHeads: number;
  readonly size: number;
}

export const cacheNames = (path: string) => ({
  past: { keys: `${path}.past.keys`, values: `${path}.past.values` },
  new: { keys: `${path}.new.keys`, values: `${path}.new.values` },
});

const SMALLEST = 64;

interface Buffer {
  readonly shape: CacheShape;
  readonly past: string;
  readonly fetched: string;
  data: Float32Array;
}

export class KvCache {
  readonly #buffers: Buffer[];
  /** Real tokens of each row. */
  #lengths: number[] = [];
  #capacity = SMALLEST;
  #feeds: Record<string, HostTensor> = {};

  constructor(shapes: readonly CacheShape[]) {
    this.#buffers = shapes.flatMap((shape) => {
      const names = cacheNames(shape.path);
      return (["keys", "values"] as const).map((part) => ({
        shape,
        past: names.past[part],
        fetched: names.new[part],
        data: new Float32Array(0),
      }));
    });
    this.reset(0);
  }

  get lengths(): readonly number[] {
    return this.#lengths;
  }
  /** Slots of a row. */
  get capacity(): number {
    return this.#capacity;
  }
  /** The buffers by name, with `cache_lengths` [rows]; valid until the next change. */
  get feeds(): Readonly<Record<string, HostTensor>> {
    return this.#feeds;
  }

  /** Forgets everything; buffers that are large enough stay. */
  reset(rows: number): void {
    this.#lengths = Array<number>(rows).fill(0);
    this.#capacity = SMALLEST;
    for (const buffer of this.#buffers) {
      const needed = rows * this.#rowSize(buffer);
      if (buffer.data.length < needed) buffer.data = new Float32Array(needed);
    }
    this.#describe();
  }

  /** Appends the newest tokens: the last counts[row] of each row's fetched keys and values. */
  write(fetches: Fetches, counts: readonly number[]): void {
    this.#grow(Math.max(0, ...this.#lengths.map((length, row) => length + counts[row]!)));
    for (const buffer of this.#buffers) {
      const fresh = fetches[buffer.fetched] as HostTensor<"float32"> | undefined;
      invariant(fresh, `${buffer.fetched} was not fetched`);
      this.#append(buffer, fresh, counts);
    }
    this.#setLengths(this.#lengths.map((length, row) => length + counts[row]!));
  }

  #append({ shape: { kvHeads, size }, data }: Buffer, { data: fresh, shape }: HostTensor<"float32">, counts: readonly number[]): void {
    const tokens = shape[2]!;
    counts.forEach((count, row) => {
      if (count === 0) return;
      for (let head = row * kvHeads; head < (row + 1) * kvHeads; head++) {
        const end = (head + 1) * tokens * size;
        data.set(fresh.subarray(end - count * size, end), (head * this.#capacity + this.#lengths[row]!) * size);
      }
    });
  }

  /** Keeps the first `length` tokens of a row. */
  truncate(row: number, length: number): void {
    invariant(length <= this.#lengths[row]!, `row ${row} holds ${this.#lengths[row]} tokens, not ${length}`);
    this.#setLengths(this.#lengths.map((old, i) => (i === row ? length : old)));
  }

  /** Makes row i what row rows[i] was: to drop, reorder or repeat rows. */
  select(rows: readonly number[]): void {
    const dropsOnly = rows.every((row, i) => i === 0 || row > rows[i - 1]!);
    for (const buffer of this.#buffers) {
      const size = this.#rowSize(buffer);
      const target = dropsOnly ? buffer.data : new Float32Array(rows.length * size);
      rows.forEach((row, i) => {
        if (target !== buffer.data || row !== i) target.set(buffer.data.subarray(row * size, (row + 1) * size), i * size);
      });
      buffer.data = target;
    }
    this.#lengths = rows.map((row) => this.#lengths[row]!);
    this.#describe();
  }

  #rowSize({ shape }: Buffer): number {
    return shape.kvHeads * this.#capacity * shape.size;
  }

  /** Doubles the capacity until `needed` tokens fit. */
  #grow(needed: number): void {
    if (needed <= this.#capacity) return;
    const old = this.#capacity;
    while (this.#capacity < needed) this.#capacity *= 2;
    for (const buffer of this.#buffers) {
      const { kvHeads, size } = buffer.shape;
      const larger = new Float32Array(this.#lengths.length * this.#rowSize(buffer));
      this.#lengths.forEach((length, row) => {
        for (let head = row * kvHeads; head < (row + 1) * kvHeads; head++) {
          const start = head * old * size;
          larger.set(buffer.data.subarray(start, start + length * size), head * this.#capacity * size);
        }
      });
      buffer.data = larger;
    }
    this.#describe();
  }

  #setLengths(lengths: number[]): void {
    this.#lengths = lengths;
    this.#feeds.cache_lengths = int64([lengths.length], lengths);
  }

  #describe(): void {
    const rows = this.#lengths.length;
    this.#feeds = {};
    for (const buffer of this.#buffers) {
      const shape = [rows, buffer.shape.kvHeads, this.#capacity, buffer.shape.size];
      this.#feeds[buffer.past] = { dtype: "float32", shape, data: buffer.data.subarray(0, rows * this.#rowSize(buffer)) };
    }
    this.#setLengths(this.#lengths);
  }
}

/** The rows `rows` of a float32 or int64 tensor, in that order. */
export function selectRows(tensor: HostTensor, rows: readonly number[]): HostTensor {
  const size = tensor.data.length / tensor.shape[0]!;
  const shape = [rows.length, ...tensor.shape.slice(1)];
  const target = tensor.dtype === "int64" ? int64(shape) : float32(shape);
  rows.forEach((row, i) => {
    target.data.set(tensor.data.subarray(row * size, (row + 1) * size) as never, i * size);
  });
  return target;
}
