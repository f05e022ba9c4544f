import { expect, test } from "vitest";
import { float32 } from "../base/tensor.ts";
import { cacheNames, KvCache } from "./kv-cache.ts";

const SHAPE = { path: "a", kvHeads: 2, size: 3 };
const names = cacheNames("a");
/** Keys [rows, 2, tokens, 3] of which every number says its row, head and token; values are their negatives. */
function fresh(rows: readonly number[], first: number, tokens: number) {
  const numbers = rows.flatMap((row) =>
    [0, 1].flatMap((head) => Array.from({ length: tokens * 3 }, (_, i) => row * 1e6 + head * 1e5 + first + Math.floor(i / 3))),
  );
  const keys = float32([rows.length, 2, tokens, 3], numbers);
  return {
    [names.new.keys]: keys,
    [names.new.values]: float32(
      keys.shape,
      keys.data.map((x) => -x),
    ),
  };
}
/** The tokens a row's head holds, read from the fed buffer. */
function held(cache: KvCache, row: number, head: number): number[] {
  const { data, shape } = cache.feeds[names.past.keys]!;
  expect(shape).toEqual([cache.lengths.length, 2, cache.capacity, 3]);
  expect(data).toHaveLength(cache.lengths.length * 2 * cache.capacity * 3);
  const values = cache.feeds[names.past.values]!.data;
  return Array.from({ length: cache.lengths[row]! }, (_, slot) => {
    const at = ((row * 2 + head) * cache.capacity + slot) * 3;
    expect([data[at + 1], data[at + 2], values[at]]).toEqual([data[at], data[at], -Number(data[at])]);
    return Number(data[at]);
  });
}
const tokens = (row: number, head: number, count: number) => Array.from({ length: count }, (_, i) => row * 1e6 + head * 1e5 + i);

test("tokens are written behind each row's own last, padding never", () => {
  const cache = new KvCache([SHAPE]);
  cache.reset(2);
  cache.write(fresh([0, 1], 0, 5), [5, 0]);
  cache.write(fresh([0, 1], -3, 4), [0, 1]);
  expect(cache.lengths).toEqual([5, 1]);
  expect(cache.feeds.cache_lengths!.data).toEqual(BigInt64Array.of(5n, 1n));
  expect(held(cache, 0, 1)).toEqual(tokens(0, 1, 5));
  expect(held(cache, 1, 0)).toEqual(tokens(1, 0, 1));
});

test("a step allocates nothing until the buffer is full; then it doubles and keeps everything", () => {
  const cache = new KvCache([SHAPE]);
  cache.reset(3);
  const buffer = cache.feeds[names.past.keys]!.data.buffer;
  for (let t = 0; t < 64; t++) cache.write(fresh([0, 1, 2], t, 1), [1, 1, 1]);
  expect(cache.feeds[names.past.keys]!.data.buffer).toBe(buffer);
  expect(cache.capacity).toBe(64);
  cache.write(fresh([0, 1, 2], 64, 1), [1, 1, 1]);
  expect(cache.capacity).toBe(128);
  for (const row of [0, 1, 2]) for (const head of [0, 1]) expect(held(cache, row, head)).toEqual(tokens(row, head, 65));
});

test("rows are dropped in place, reordered and repeated; cut rows are written over", () => {
  const cache = new KvCache([SHAPE]);
  cache.reset(4);
  cache.write(fresh([0, 1, 2, 3], 0, 6), [6, 6, 6, 6]);
  const buffer = cache.feeds[names.past.keys]!.data.buffer;
  cache.select([1, 3]);
  expect(cache.feeds[names.past.keys]!.data.buffer).toBe(buffer);
  expect(held(cache, 1, 1)).toEqual(tokens(3, 1, 6));
  cache.select([1, 0, 1]);
  expect([0, 1, 2].map((row) => held(cache, row, 0))).toEqual([3, 1, 3].map((row) => tokens(row, 0, 6)));
  cache.truncate(0, 2);
  cache.write(fresh([3, 1, 3], 2, 1), [1, 0, 0]);
  expect(held(cache, 0, 0)).toEqual(tokens(3, 0, 3));
  expect(cache.lengths).toEqual([3, 6, 6]);
  cache.reset(2);
  expect(cache.lengths).toEqual([0, 0]);
});
