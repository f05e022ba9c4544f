import { expect, test } from "vitest";
import { float32 } from "../base/tensor.ts";
import { KvCache } from "./kv-cache.ts";
import type { KvBuffer } from "./kv-store.ts";

const BUFFERS: readonly KvBuffer[] = ["keys", "values"].map((part) => ({ fed: `past.${part}`, fetched: `new.${part}`, heads: 2, size: 3 }));
const cacheOf = (rows: number) => {
  const cache = new KvCache(BUFFERS, { lengths: "cache_lengths" });
  for (let row = 0; row < rows; row++) cache.add();
  return cache;
};
/** Keys [rows, 2, tokens, 3] of which every number says its row, head and token; values are their negatives. */
function fresh(rows: readonly number[], first: number, tokens: number) {
  const numbers = rows.flatMap((row) =>
    [0, 1].flatMap((head) => Array.from({ length: tokens * 3 }, (_, i) => row * 1e6 + head * 1e5 + first + Math.floor(i / 3))),
  );
  const keys = float32([rows.length, 2, tokens, 3], numbers);
  return {
    "new.keys": keys,
    "new.values": float32(
      keys.shape,
      keys.data.map((x) => -x),
    ),
  };
}
/** The tokens a row's head holds, read from the fed buffer. */
function held(cache: KvCache, row: number, head: number): number[] {
  const { data, shape } = cache.feeds["past.keys"]!;
  expect(shape).toEqual([cache.lengths.length, 2, cache.capacity, 3]);
  expect(data).toHaveLength(cache.lengths.length * 2 * cache.capacity * 3);
  const values = cache.feeds["past.values"]!.data;
  return Array.from({ length: cache.lengths[row]! }, (_, slot) => {
    const at = ((row * 2 + head) * cache.capacity + slot) * 3;
    expect([data[at + 1], data[at + 2], values[at]]).toEqual([data[at], data[at], -Number(data[at])]);
    return Number(data[at]);
  });
}
const tokens = (row: number, head: number, count: number) => Array.from({ length: count }, (_, i) => row * 1e6 + head * 1e5 + i);

test("tokens are written behind each row's own last, padding never", () => {
  const cache = cacheOf(2);
  cache.write(fresh([0, 1], 0, 5), [5, 0]);
  cache.write(fresh([0, 1], -3, 4), [0, 1]);
  expect(cache.lengths).toEqual([5, 1]);
  expect(cache.feeds.cache_lengths!.data).toEqual(BigInt64Array.of(5n, 1n));
  expect(held(cache, 0, 1)).toEqual(tokens(0, 1, 5));
  expect(held(cache, 1, 0)).toEqual(tokens(1, 0, 1));
  const behind = cacheOf(1);
  behind.write(fresh([0], 0, 5), [3], "behind");
  expect(held(behind, 0, 1)).toEqual(tokens(0, 1, 3));
});

test("a step allocates nothing until the buffer is full; then it doubles and keeps everything", () => {
  const cache = cacheOf(3);
  const { feeds } = cache;
  for (let t = 0; t < 64; t++) cache.write(fresh([0, 1, 2], t, 1), [1, 1, 1]);
  expect(cache.feeds).toBe(feeds);
  expect(cache.capacity).toBe(64);
  cache.write(fresh([0, 1, 2], 64, 1), [1, 1, 1]);
  expect(cache.capacity).toBe(128);
  for (const row of [0, 1, 2]) for (const head of [0, 1]) expect(held(cache, row, head)).toEqual(tokens(row, head, 65));
});

test("the last row takes the place of one that leaves; copies go on by themselves", () => {
  const cache = cacheOf(4);
  cache.write(fresh([0, 1, 2, 3], 0, 6), [6, 5, 6, 4], "behind");
  const kept = cache.copyOf(2, 3);
  cache.remove(0);
  expect(cache.lengths).toEqual([4, 5, 6]);
  expect([0, 1, 2].map((row) => held(cache, row, 1))).toEqual([tokens(3, 1, 4), tokens(1, 1, 5), tokens(2, 1, 6)]);
  const copy = cache.add(cache.row(1), 2);
  const behind = cache.add(kept);
  expect([copy, behind]).toEqual([3, 4]);
  cache.write(fresh([3, 1, 2, 1, 2], 2, 1), [0, 0, 0, 1, 0]);
  expect(held(cache, 3, 0)).toEqual(tokens(1, 0, 3));
  expect(held(cache, 4, 0)).toEqual(tokens(2, 0, 3));
  expect(held(cache, 1, 0)).toEqual(tokens(1, 0, 5));
  cache.clear(1);
  expect(cache.feeds.cache_lengths!.data).toEqual(BigInt64Array.of(4n, 0n, 6n, 3n, 3n));
});

test("a row is copied rightly into a cache that has grown since it was looked up", () => {
  const cache = cacheOf(2);
  cache.write(fresh([0, 1], 0, 60), [60, 60], "behind");
  const source = cache.row(1);
  cache.reserve(3, 70);
  expect(cache.capacity).toBe(128);
  cache.add(source);
  expect(held(cache, 2, 1)).toEqual(tokens(1, 1, 60));
});

test("memory follows what is held: room for a long row is given back when it leaves", () => {
  const cache = cacheOf(2);
  cache.reserve(3, 1000);
  expect(cache.capacity).toBe(1024);
  cache.write(fresh([0, 1], 0, 300), [300, 2]);
  const long = cache.bytes();
  cache.remove(0);
  expect(cache.capacity).toBe(64);
  expect(cache.bytes()).toBe(long / 32);
  expect(held(cache, 0, 1)).toEqual([298, 299].map((token) => 1e6 + 1e5 + token));
});
