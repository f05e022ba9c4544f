/** @file Compares whole arrays number by number. */

import type { NdArray } from "./array.ts";

export interface Tolerance {
  readonly relative: number;
  readonly absolute: number;
}

/** A description of the difference; undefined if every number agrees within absolute + relative |expected|. */
export function difference(got: NdArray, expected: NdArray, { relative, absolute }: Tolerance): string | undefined {
  if (got.dtype !== expected.dtype) return `dtype ${got.dtype} instead of ${expected.dtype}`;
  if (String(got.shape) !== String(expected.shape)) return `shape [${got.shape}] instead of [${expected.shape}]`;
  const wrong = expected.data.findIndex((want, i) => !(Math.abs(got.data[i]! - want) <= absolute + relative * Math.abs(want)));
  if (wrong === -1) return undefined;
  return `element ${wrong} of [${expected.shape}] is ${got.data[wrong]} instead of ${expected.data[wrong]}`;
}
