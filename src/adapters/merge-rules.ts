/** @file The merging rules on one tensor of every adapter, elementwise (reference: peft, utils/merge_utils.py). */

import type { Random } from "../base/random.ts";

/** sum_z weights[z] tensors[z] */
export function weightedSum(tensors: readonly Float64Array[], weights: readonly number[]): Float64Array {
  const sum = new Float64Array(tensors[0]?.length ?? 0);
  for (const [z, tensor] of tensors.entries()) {
    const weight = weights[z]!;
    for (let i = 0; i < sum.length; i++) sum[i]! += weight * tensor[i]!;
  }
  return sum;
}

/** Keeps the floor(density * size) entries of largest magnitude and sets the others to 0; among equal entries the first are kept. */
export function trimmed(tensor: Float64Array, density: number): Float64Array {
  if (density >= 1) return tensor;
  const kept = Math.floor(density * tensor.length);
  const magnitudes = tensor.map(Math.abs).sort();
  const threshold = kept > 0 ? magnitudes[tensor.length - kept]! : Number.POSITIVE_INFINITY;
  let equals = kept - magnitudes.reduce((count, value) => count + (value > threshold ? 1 : 0), 0);
  return tensor.map((value) => {
    const magnitude = Math.abs(value);
    return magnitude > threshold || (magnitude === threshold && equals-- > 0) ? value : 0;
  });
}

/** Keeps each entry with probability `density`. With `rescale`, divides it by `density`, so the expectation stays the same. `choice` is
 *  a mask, or a function that draws one. */
export function dropped(
  tensor: Float64Array,
  { density, rescale, choice }: { readonly density: number; readonly rescale: boolean; readonly choice: Uint8Array | Random },
): Float64Array {
  const keep = choice instanceof Uint8Array ? (i: number) => choice[i] === 1 : () => density >= 1 || choice.next() < density;
  const divisor = rescale ? density : 1;
  return tensor.map((value, i) => (keep(i) ? value / divisor : 0));
}

/** TIES: for each entry, elects the sign of the sum (or the most frequent sign; 0 counts as +), then takes the weighted sum of the
 *  entries with that sign, divided by their number. */
export function electedMean(tensors: readonly Float64Array[], weights: readonly number[], by: "total" | "frequency"): Float64Array {
  const mean = new Float64Array(tensors[0]?.length ?? 0);
  for (let i = 0; i < mean.length; i++) {
    let votes = 0;
    for (const tensor of tensors) votes += by === "total" ? tensor[i]! : Math.sign(tensor[i]!);
    const sign = votes >= 0 ? 1 : -1;
    let [sum, count] = [0, 0];
    for (const [z, tensor] of tensors.entries()) {
      if (Math.sign(tensor[i]!) !== sign) continue;
      sum += weights[z]! * tensor[i]!;
      count += 1;
    }
    mean[i] = sum / Math.max(count, 1);
  }
  return mean;
}
