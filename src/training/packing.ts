/** @file Packing: several short examples in one row, for decoder-only models. */

import type { Encoded } from "./batches.ts";

// Rows that may still have room; older ones are almost full.
const OPEN_ROWS = 64;

/** Packs several short examples into one row, first fit in order. Attention and positions stay within each example. For decoder-only models. */
export function packed(examples: readonly Encoded[], length: number): readonly Encoded[] {
  const packing = packer(length);
  for (const example of examples) packing.add(example);
  return packing.rows;
}

/** Packs examples one by one. `add` refuses an example that would need a row more than `mostRows`. */
export function packer(length: number, mostRows = Number.POSITIVE_INFINITY) {
  const rows: { inputs: number[]; labels: number[]; positions: number[]; documents: number[] }[] = [];
  const add = ({ inputs, labels }: Encoded): boolean => {
    const open = rows.slice(-OPEN_ROWS).find((candidate) => candidate.inputs.length + inputs.length <= length);
    if (!open && rows.length === mostRows) return false;
    const row = open ?? { inputs: [], labels: [], positions: [], documents: [] };
    if (!open) rows.push(row);
    const document = row.documents.length === 0 ? 0 : row.documents.at(-1)! + 1;
    row.inputs.push(...inputs);
    row.labels.push(...labels);
    row.positions.push(...inputs.keys());
    row.documents.push(...inputs.map(() => document));
    return true;
  };
  return { add, rows: rows as readonly Encoded[] };
}
