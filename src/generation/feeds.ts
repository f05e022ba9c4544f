/** @file Feeds that differ by row: tensors whose first axis is the row. */

import type { HostTensor } from "../base/tensor.ts";
import type { Feeds } from "../runtime/session.ts";

/** One row's part of the feeds of a batch: tensors [1, ...]. */
export function feedsOfRow(feeds: Feeds, row: number): Feeds {
  return mapped(feeds, ({ dtype, shape, data }) => {
    const size = data.length / shape[0]!;
    return { dtype, shape: [1, ...shape.slice(1)], data: data.slice(row * size, (row + 1) * size) } as HostTensor;
  });
}

/** Joins the feeds of rows, tensors [1, ...] each, into the feeds of their batch. */
export function stackedFeeds(rows: readonly Feeds[]): Feeds {
  return mapped(rows[0] ?? {}, ({ dtype, shape, data }, name) => {
    const joined = new (data.constructor as Float32ArrayConstructor)(rows.length * data.length);
    rows.forEach((row, i) => {
      joined.set(row[name]!.data as Float32Array, i * data.length);
    });
    return { dtype, shape: [rows.length, ...shape.slice(1)], data: joined } as HostTensor;
  });
}

/** Whether two rows have equal feeds. */
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
