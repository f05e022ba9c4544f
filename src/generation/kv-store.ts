/** @file What the caches of keys and values on the host (kv-cache.ts) and on the device (device-kv-cache.ts) have in common. */

import type { DeviceFeeds, Tensor } from "../runtime/engine.ts";

/** One array of keys or values: `heads` heads of `size` numbers a token. */
export interface KvBuffer {
  readonly fed: string;
  readonly fetched: string;
  readonly heads: number;
  readonly size: number;
}

export interface KvOptions {
  /** The feed with the number of tokens in each row. */
  readonly lengths?: string;
  /** Rows are added with all their tokens, so buffers need no room to grow. */
  readonly complete?: boolean;
}

/** A row to copy from: a row of a cache, or a separate row. Only caches of the same kind read it. */
export interface KvRow {
  readonly length: number;
  /** Frees a copy on the device. */
  dispose?(): void;
}

/** The keys and values of rows. */
export interface KvStore {
  /** Tokens of each row. */
  readonly lengths: readonly number[];
  /** Slots of a row. */
  readonly capacity: number;
  /** The arrays by name, and the lengths. */
  readonly feeds: DeviceFeeds;
  /** Called before `feeds` are read, where rows are not kept in order. */
  settle?(): Promise<void>;
  /** The bytes of this many rows, if the longest has this length. */
  bytes(rows?: number, longest?: number): number;
  /** Makes room for this many rows in total, and this many tokens per row, before they are added. */
  reserve(rows: number, tokens: number): void;
  /** Adds a row: empty, or with the first `length` tokens of another. Returns its number. */
  add(source?: KvRow, length?: number): number;
  /** Removes a row; the last row gets its number. */
  remove(row: number): void;
  /** Removes the tokens of a row. */
  clear(row: number): void;
  /** Removes all rows. */
  empty(): void;
  /** A row; valid until its number changes. */
  row(row: number): KvRow;
  /** A copy of a row's first tokens, and its bytes. Whoever has it disposes of it. */
  copyOf(row: number, length?: number): KvRow & { readonly bytes: number };
  /** Appends counts[row] new tokens to each row: the last ones, or the first ones if the padding is on the right. */
  write(values: Readonly<Record<string, Tensor>>, counts: readonly number[], padding?: "before" | "behind"): void | Promise<void>;
}

const SMALLEST = 64;
const GRAIN = 8;

/** The capacity for this many tokens: a power of two, so that a growing row is seldom copied. */
export function sizedFor(tokens: number, { complete }: KvOptions): number {
  if (complete) return Math.max(1, Math.ceil(tokens / GRAIN)) * GRAIN;
  return Math.max(SMALLEST, 2 ** Math.ceil(Math.log2(Math.max(1, tokens))));
}
