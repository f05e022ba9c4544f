/** @file Eight-bit weights, one scale per output channel; symmetric around 0.
 *
 *      W[o, i] = scale[o] q[o, i],   scale[o] = max_i |W[o, i]| / 63,   q in -63..63
 *
 *  Seven bits of the eight are used: on processors without VNNI, the engine's fast product adds two products of an unsigned and a signed
 *  byte in 16 bits, and 255 * 64 * 2 is the most that fits. ONNX Runtime calls this reduced range. A table that is only looked up
 *  uses all: its values never enter such a product. */

/** The largest value of a weight that enters a product, and of one that does not. */
export const PRODUCT_RANGE = 63;
export const TABLE_RANGE = 127;

export interface Int8Rows {
  /** [rows, width] */
  readonly values: Int8Array;
  /** [rows] */
  readonly scales: Float32Array;
}

/** Rows of float32 [rows, width] in 8 bits, each with a scale of its own. A row of zeros has scale 0. */
export function int8Rows(weights: Float32Array, width: number, range: number): Int8Rows {
  const rows = weights.length / width;
  const values = new Int8Array(weights.length);
  const scales = new Float32Array(rows);
  for (let row = 0; row < rows; row++) {
    const start = row * width;
    let most = 0;
    for (let i = start; i < start + width; i++) most = Math.max(most, Math.abs(weights[i]!));
    const scale = Math.fround(most / range);
    scales[row] = scale;
    if (scale === 0) continue;
    for (let i = start; i < start + width; i++) values[i] = Math.max(-range, Math.min(range, Math.round(weights[i]! / scale)));
  }
  return { values, scales };
}

/** Writes [rows, width] into columns `at`.. of [width, columns]. */
export function intoColumns(
  target: Int8Array,
  values: Int8Array,
  { width, at, columns }: { width: number; at: number; columns: number },
): void {
  const rows = values.length / width;
  for (let i = 0; i < width; i++) {
    const to = i * columns + at;
    for (let row = 0; row < rows; row++) target[to + row] = values[row * width + i]!;
  }
}
