/** @file Linear algebra of low-rank products, in float64.
 *
 *  The product B A of thin factors is never formed: with thin QR of both, B = Qb Rb and A^T = Qa Ra,
 *    B A = Qb (Rb Ra^T) Qa^T,   SVD of the small core = U S V^T,   so   B A = (Qb U) S (Qa V)^T.
 *
 *  Matrices are stored by columns (`vectors`), since all operations work on whole columns. */

import { Matrix, SingularValueDecomposition } from "ml-matrix";
import { seededRandom } from "../base/random.ts";
import type { HostTensor } from "../base/tensor.ts";

type Vector = Float64Array;

/** B A = sum_i values[i] left[i] right[i]^T, values falling; `left` vectors have B's rows, `right` vectors A's columns. */
export interface Svd {
  readonly left: readonly Vector[];
  readonly values: readonly number[];
  readonly right: readonly Vector[];
}

/** Singular value decomposition of B A. `a`: [rank, in], `b`: [out, rank] -> `rank` triples, the last ones 0 where rank is not full. */
export function productSvd(a: HostTensor<"float32">, b: HostTensor<"float32">): Svd {
  const left = thinQr(columns(b));
  const right = thinQr(rows(a));
  const core = left.r.map((row) => right.r.map((other) => dot(row, other)));
  return expanded(denseSvd(core), left.q, right.q);
}

/** The `rank` largest singular triples of a dense matrix [out, in]: exact when it is small, else by subspace iteration
 *  (Halko et al. 2011, arXiv:0909.4061) until the values converge. */
export function truncatedSvd(dense: Float64Array, size: { readonly out: number; readonly in: number }, rank: number): Svd {
  const matrix = Array.from({ length: size.out }, (_, row) => dense.subarray(row * size.in, (row + 1) * size.in));
  const kept = Math.min(rank, size.out, size.in);
  if (Math.min(size.out, size.in) <= EXACT_LIMIT) return firstTriples(denseSvd(matrix), kept);
  const random = seededRandom(0);
  const width = Math.min(kept + OVERSAMPLING, size.out, size.in);
  let basis = thinQr(Array.from({ length: width }, () => Float64Array.from({ length: size.in }, () => random.normal()))).q;
  let previous: readonly number[] = [];
  for (let pass = 1; ; pass++) {
    const left = thinQr(basis.map((v) => Float64Array.from(matrix, (row) => dot(row, v)))).q;
    const { q, r } = thinQr(left.map((u) => combination(matrix, u)));
    const core = denseSvd(transposed(r));
    const { values } = core;
    const still = values.slice(0, kept).every((value, i) => Math.abs(value - (previous[i] ?? 0)) <= 1e-12 * values[0]!);
    if (still || pass === MOST_PASSES) return firstTriples(expanded(core, left, q), kept);
    [basis, previous] = [q, values];
  }
}
const EXACT_LIMIT = 256; // a full SVD costs out * in * min(out, in): some seconds at this size
const OVERSAMPLING = 10; // Halko et al. 2011, section 1.3
const MOST_PASSES = 300;

/** The unit vector v [in] that B A stretches most: || B A v || is the largest singular value. Its sign is arbitrary; here the
 *  largest entry is positive. All zeros when B A is zero, so that its scores are 0. */
export function topRightSingularVector(a: HostTensor<"float32">, b: HostTensor<"float32">): Float64Array {
  const { values, right } = productSvd(a, b);
  const [v] = right;
  if (!v || !((values[0] ?? 0) > 0)) return new Float64Array(a.shape[1] ?? 0);
  const largest = v.reduce((best, value) => (Math.abs(value) > Math.abs(best) ? value : best), 0);
  return v.map((value) => (largest < 0 ? -value : value));
}

/** B A = U (S V^T) with orthonormal U. -> `u`: [out, rank], `sv` = S V^T: [rank, in], so || sv x || = || B A x ||. */
export function spectralFactors(
  a: HostTensor<"float32">,
  b: HostTensor<"float32">,
): { u: HostTensor<"float32">; sv: HostTensor<"float32"> } {
  const { left, values, right } = productSvd(a, b);
  return { u: fromColumns(left), sv: fromRows(right.map((v, i) => v.map((value) => value * (values[i] ?? 0)))) };
}

/** [count, length] of `count` vectors. */
export function fromRows(vectors: readonly Vector[]): HostTensor<"float32"> {
  const length = vectors[0]?.length ?? 0;
  const data = new Float32Array(vectors.length * length);
  for (const [row, vector] of vectors.entries()) data.set(vector, row * length);
  return { dtype: "float32", shape: [vectors.length, length], data };
}

/** [length, count] of `count` vectors. */
export function fromColumns(vectors: readonly Vector[]): HostTensor<"float32"> {
  const length = vectors[0]?.length ?? 0;
  const data = new Float32Array(length * vectors.length);
  for (const [column, vector] of vectors.entries()) for (let i = 0; i < length; i++) data[i * vectors.length + column] = vector[i]!;
  return { dtype: "float32", shape: [length, vectors.length], data };
}

/** sum_r weight b[:, r] a[r, :] added to `sum` [out, in]. */
export function addProduct(sum: Float64Array, a: HostTensor<"float32">, b: HostTensor<"float32">, weight: number): void {
  const [rank = 0, width = 0] = a.shape;
  const [out = 0] = b.shape;
  for (let o = 0; o < out; o++) {
    for (let r = 0; r < rank; r++) {
      const factor = weight * b.data[o * rank + r]!;
      if (factor === 0) continue;
      for (let i = 0, at = o * width, from = r * width; i < width; i++) sum[at + i]! += factor * a.data[from + i]!;
    }
  }
}

function rows({ shape: [count = 0, length = 0], data }: HostTensor<"float32">): Vector[] {
  return Array.from({ length: count }, (_, row) => Float64Array.from(data.subarray(row * length, (row + 1) * length)));
}

function columns({ shape: [length = 0, count = 0], data }: HostTensor<"float32">): Vector[] {
  return Array.from({ length: count }, (_, column) => Float64Array.from({ length }, (_, i) => data[i * count + column]!));
}

/** X = Q R for the matrix with columns `vectors`, by Gram-Schmidt applied twice (Giraud et al. 2005: twice is enough).
 *  A column that depends on those before it gets a zero column in Q and a zero row in R: Q R is still X. `r` holds R's rows. */
function thinQr(vectors: readonly Vector[]): { q: Vector[]; r: Vector[] } {
  const q: Vector[] = [];
  const r = vectors.map(() => new Float64Array(vectors.length));
  for (const [column, vector] of vectors.entries()) {
    const rest = vector.slice();
    for (let pass = 0; pass < 2; pass++) {
      for (const [k, unit] of q.entries()) {
        const along = dot(unit, rest);
        r[k]![column]! += along;
        subtract(rest, unit, along);
      }
    }
    const norm = Math.sqrt(dot(rest, rest));
    const independent = norm > 1e-13 * Math.sqrt(dot(vector, vector));
    if (independent) r[column]![column] = norm;
    q.push(independent ? rest.map((value) => value / norm) : new Float64Array(rest.length));
  }
  return { q, r };
}

/** Full SVD of a small matrix given by rows; without full rank, the last triples are 0. */
function denseSvd(matrix: readonly Vector[] | readonly number[][]): Svd {
  const rows = matrix.map((row) => Float64Array.from(row));
  const count = Math.min(rows.length, rows[0]?.length ?? 0);
  const basis = rowBasis(rows, count);
  if (basis.length === count) return fullRankSvd(rows, count);
  // ml-matrix may not terminate on such a matrix, so it gets the coordinates of the rows in an orthonormal basis of their span.
  const spanned = basis.length === 0 ? NOTHING : fullRankSvd(coordinates(rows, basis), basis.length);
  const none = (length: number) => Array.from({ length: count - basis.length }, () => new Float64Array(length));
  return {
    left: [...spanned.left, ...none(rows.length)],
    values: [...spanned.values, ...none(1).map(() => 0)],
    right: [...spanned.right.map((v) => combination(basis, v)), ...none(rows[0]?.length ?? 0)],
  };
}
const NOTHING: Svd = { left: [], values: [], right: [] };

/** An orthonormal basis of the span of the rows, by Gram-Schmidt, the longest remainder first. */
function rowBasis(rows: readonly Vector[], most: number): Vector[] {
  const rests = rows.map((row) => row.slice());
  const basis: Vector[] = [];
  const least = 1e-13 * Math.sqrt(Math.max(0, ...rows.map((row) => dot(row, row))));
  while (basis.length < most) {
    const norms = rests.map((rest) => Math.sqrt(dot(rest, rest)));
    const norm = Math.max(...norms);
    if (norm <= least) break;
    const unit = rests[norms.indexOf(norm)]!.map((value) => value / norm);
    for (const known of basis) subtract(unit, known, dot(known, unit)); // twice is enough
    const length = Math.sqrt(dot(unit, unit));
    const next = unit.map((value) => value / length);
    basis.push(next);
    for (const rest of rests) subtract(rest, next, dot(next, rest));
  }
  return basis;
}

function subtract(vector: Vector, unit: Vector, along: number): void {
  for (let i = 0; i < vector.length; i++) vector[i]! -= along * unit[i]!;
}

function coordinates(rows: readonly Vector[], basis: readonly Vector[]): Vector[] {
  return rows.map((row) => Float64Array.from(basis, (unit) => dot(unit, row)));
}

function fullRankSvd(rows: readonly Vector[], count: number): Svd {
  const svd = new SingularValueDecomposition(new Matrix(rows.map((row) => Array.from(row))), { autoTranspose: true });
  const column = (m: Matrix, i: number) => Float64Array.from(m.getColumn(i));
  const order = Array.from({ length: count }, (_, i) => i).sort((i, j) => svd.diagonal[j]! - svd.diagonal[i]!);
  return {
    left: order.map((i) => column(svd.leftSingularVectors, i)),
    values: order.map((i) => svd.diagonal[i]!),
    right: order.map((i) => column(svd.rightSingularVectors, i)),
  };
}

/** The SVD of Ql core Qr^T from that of the core. */
function expanded(core: Svd, leftBasis: readonly Vector[], rightBasis: readonly Vector[]): Svd {
  return {
    left: core.left.map((u) => combination(leftBasis, u)),
    values: core.values,
    right: core.right.map((v) => combination(rightBasis, v)),
  };
}

function firstTriples({ left, values, right }: Svd, count: number): Svd {
  return { left: left.slice(0, count), values: values.slice(0, count), right: right.slice(0, count) };
}

function combination(vectors: readonly Vector[], weights: Vector): Vector {
  const sum = new Float64Array(vectors[0]?.length ?? 0);
  for (const [k, vector] of vectors.entries()) {
    const weight = weights[k]!;
    if (weight !== 0) for (let i = 0; i < sum.length; i++) sum[i]! += weight * vector[i]!;
  }
  return sum;
}

function transposed(matrix: readonly Vector[]): Vector[] {
  return Array.from({ length: matrix[0]?.length ?? 0 }, (_, column) => Float64Array.from(matrix, (row) => row[column]!));
}

function dot(a: Vector, b: Vector): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}
