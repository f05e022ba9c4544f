/** @file What rows are fed each for itself: tensors whose first axis counts rows. */

import type { HostTensor } from "../base/tensor.ts";
import type { Feeds } from "../runtime/session.ts";

/** A row's own part of what a batch is fed: tensors [1, ...]. */
export function feedsOfRow(feeds: Feeds, row: number): Feeds {
  return mapped(feeds, ({ dtype, shape, data }) => {
    const size = data.length / shape[0]!;
    return { dtype, shape: [1, ...shape.slice(1)], data: data.slice(row * size, (row + 1) * size) } as HostTensor;
  });
}

/** What rows are fed, tensors [1, ...] each, as what their batch is fed. */
export function stackedFeeds(rows: readonly Feeds[]): Feeds {
  return mapped(rows[0] ?? {}, ({ dtype, shape, data }, name) => {
    const joined = new (data.constructor as Float32ArrayConstructor)(rows.length * data.length);
    rows.forEach((row, i) => {
      joined.set(row[name]!.data as Float32Array, i * data.length);
    });
    return { dtype, shape: [rows.length, ...shape.slice(1)], data: joined } as HostTensor;
  });
}

/** Whether two rows are fed the same. */
export function sameFeeds(a: Feeds, b: Feeds): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => sameNumbers(a[name]!.data, b[name]?.data));
}

function sameNumbers(a: HostTensor["data"], b: HostTensor["data"] | undefined): boolean {
  return a === b || (a.length === b?.length && a.every((value: number | bigint, i: number) => value === b[i]));
}

function mapped(feeds: Feeds, to: (tensor: HostTensor, name: string) => HostTensor): Feeds {
  return Object.fromEntries(Object.entries(feeds).map(([name, tensor]) => [name, to(tensor, name)]));
}
