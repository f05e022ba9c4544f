/** @file Golden numbers for tests. Reference implementations computed them (tests/golden/README.md); tests compare whole tensors. */

import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import type { HostTensor } from "../src/base/tensor.ts";
import { readSafetensors } from "../src/checkpoint/safetensors.ts";

/** Path of a golden file or folder. */
export function golden(path: string): string {
  return fileURLToPath(new URL(`./golden/${path}`, import.meta.url));
}

/** Path of public data next to the checkout, or undefined with the reason to skip. */
export function shared(path: string): string | undefined {
  const full = fileURLToPath(new URL(`../../shared/${path}`, import.meta.url));
  return existsSync(full) ? full : undefined;
}

/** The tensors of a golden file, by name; a missing one is an error. */
export async function goldenTensors(path: string) {
  const tensors = await readSafetensors(golden(path));
  const get = (name: string): HostTensor => {
    const tensor = tensors.get(name);
    if (!tensor) throw new Error(`no tensor ${name} in ${path}`);
    return tensor;
  };
  return {
    names: [...tensors.keys()],
    has: (name: string) => tensors.has(name),
    get,
    float: (name: string) => get(name) as HostTensor<"float32">,
    int: (name: string) => get(name) as HostTensor<"int64">,
  };
}

/** Largest absolute difference; `rows` selects the compared rows (all axes except the last). */
export function maxDifference(actual: HostTensor, expected: HostTensor, rows?: HostTensor<"int64">): number {
  expect(actual.shape).toEqual(expected.shape);
  const width = rows ? actual.data.length / rows.data.length : 1;
  let worst = 0;
  for (let i = 0; i < actual.data.length; i++) {
    if (rows && rows.data[Math.floor(i / width)] === 0n) continue;
    const difference = Math.abs(Number(actual.data[i]) - Number(expected.data[i]));
    worst = Math.max(worst, Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference);
  }
  return worst;
}

/** Every number within `tolerance` (absolute). */
export function expectClose(actual: HostTensor, expected: HostTensor, tolerance: number, rows?: HostTensor<"int64">): void {
  expect(maxDifference(actual, expected, rows)).toBeLessThanOrEqual(tolerance);
}
