/** @file Clusters and positions from similarities.
 *
 *    clusters    single linkage: two are in one cluster if a chain of pairs above the threshold joins them
 *    positions   classical scaling of d = 1 - s: the two leading eigenvectors of -1/2 J d² J, J = I - 1/n (Torgerson 1952) */

type Square = readonly (readonly number[])[];

/** The members of each cluster, the largest first; equal ones in order of their first member. */
export function clustersOf(similarities: Square, threshold: number): number[][] {
  const of = similarities.map((_, i) => i);
  const root = (i: number): number => (of[i] === i ? i : root(of[i]!));
  similarities.forEach((row, i) => {
    row.forEach((value, j) => {
      if (value > threshold) of[Math.max(root(i), root(j))] = Math.min(root(i), root(j));
    });
  });
  const members = new Map<number, number[]>();
  for (const i of similarities.keys()) members.set(root(i), [...(members.get(root(i)) ?? []), i]);
  return [...members.values()].sort((a, b) => b.length - a.length);
}

const PASSES = 200; // of power iteration; the picture needs two digits

/** A place in the plane for each. */
export function scaledPositions(similarities: Square): [number, number][] {
  const n = similarities.length;
  const squares = similarities.map((row) => row.map((value) => (1 - value) ** 2));
  const rowMeans = squares.map((row) => row.reduce((sum, value) => sum + value, 0) / n);
  const mean = rowMeans.reduce((sum, value) => sum + value, 0) / n;
  const centered = squares.map((row, i) => row.map((value, j) => -0.5 * (value - rowMeans[i]! - rowMeans[j]! + mean)));
  const first = leading(centered);
  const rest = centered.map((row, i) => row.map((value, j) => value - first.value * first.vector[i]! * first.vector[j]!));
  const second = leading(rest);
  const along = ({ value, vector }: Eigen, i: number) => Math.sqrt(Math.max(0, value)) * vector[i]!;
  return similarities.map((_, i) => [along(first, i), along(second, i)]);
}

interface Eigen {
  readonly value: number;
  readonly vector: readonly number[];
}

/** The largest eigenvalue of a symmetric matrix and its vector, by power iteration on the matrix made positive. */
function leading(matrix: Square): Eigen {
  const shift = Math.max(...matrix.map((row) => row.reduce((sum, value) => sum + Math.abs(value), 0)), 1e-12);
  let vector = matrix.map((_, i) => Math.cos(i + 1)); // no symmetry that could hide the vector
  for (let pass = 0; pass < PASSES; pass++) {
    const next = matrix.map((row, i) => row.reduce((sum, value, j) => sum + value * vector[j]!, shift * vector[i]!));
    const length = Math.hypot(...next) || 1;
    vector = next.map((value) => value / length);
  }
  const image = matrix.map((row) => row.reduce((sum, value, j) => sum + value * vector[j]!, 0));
  return { value: image.reduce((sum, value, i) => sum + value * vector[i]!, 0), vector };
}
