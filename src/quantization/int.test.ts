import * as fc from "fast-check";
import { expect, test } from "vitest";
import { BLOCK, int4Rows } from "./int4.ts";
import { int8Rows, intoColumns, PRODUCT_RANGE, TABLE_RANGE } from "./int8.ts";

const weights = (width: number, rows: number) =>
  fc
    .array(fc.float({ min: -8, max: 8, noNaN: true }), { minLength: width * rows, maxLength: width * rows })
    .map((values) => Float32Array.from(values));

test("a weight in 8 bits is within half a step of itself, and the largest of its row is exact", () => {
  fc.assert(
    fc.property(weights(7, 3), fc.constantFrom(PRODUCT_RANGE, TABLE_RANGE), (values, range) => {
      const { values: levels, scales } = int8Rows(values, 7, range);
      for (const [i, value] of values.entries()) {
        const scale = scales[Math.floor(i / 7)]!;
        expect(Math.abs(levels[i]! * scale - value)).toBeLessThanOrEqual(scale / 2 + 1e-6);
        expect(Math.abs(levels[i]!)).toBeLessThanOrEqual(range);
      }
    }),
  );
});

test("products of a byte and a weight never leave 16 bits in pairs", () => {
  expect(2 * 255 * PRODUCT_RANGE).toBeLessThanOrEqual(2 ** 15 - 1);
});

test("a row of zeros stays zeros", () => {
  expect(int8Rows(new Float32Array(4), 4, PRODUCT_RANGE)).toEqual({ values: new Int8Array(4), scales: new Float32Array(1) });
  expect([...int4Rows(new Float32Array(4), 4).scales]).toEqual([0]);
});

test("rows become columns", () => {
  const target = new Int8Array(2 * 4);
  intoColumns(target, Int8Array.from([1, 2, 3, 4, 5, 6]), { width: 2, at: 1, columns: 4 });
  expect([...target]).toEqual([0, 1, 3, 5, 0, 2, 4, 6]);
});

test("a weight in 4 bits is within one step of itself, whatever the width", () => {
  fc.assert(
    fc.property(fc.constantFrom(5, BLOCK, BLOCK + 3), fc.nat(1000), (width, seed) => {
      const values = Float32Array.from({ length: 2 * width }, (_, i) => Math.sin(i * 12.9898 + seed) * 3);
      const { values: bytes, scales } = int4Rows(values, width);
      const blocks = Math.ceil(width / BLOCK);
      expect(bytes.length).toBe((2 * blocks * BLOCK) / 2);
      for (let row = 0; row < 2; row++) {
        for (let i = 0; i < width; i++) {
          const at = row * blocks * BLOCK + i;
          const level = (bytes[at >> 1]! >> (at % 2 === 0 ? 0 : 4)) & 15;
          const scale = scales[row * blocks + Math.floor(i / BLOCK)]!;
          expect(Math.abs(scale * (level - 8) - values[row * width + i]!)).toBeLessThanOrEqual(Math.abs(scale) + 1e-6);
        }
      }
    }),
  );
});
