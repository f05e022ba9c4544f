/** @file Eight-bit weights with one scale per output channel, symmetric around 0.
 *
 *      W[o, i] = scale[o] q[o, i],   scale[o] = max_i |W[o, i]| / 63,   q in -63..63
 *
 *  Only seven of the eight bits are used. On processors without VNNI, the engine's fast product adds two products of an unsigned and a
 *  signed byte in 16 bits, and 255 * 64 * 2 is the largest sum that fits. ONNX Runtime calls this reduced range. A table that is only
 *  looked up uses all eight bits, since its values are never in such a product. */

/** The largest quantized value of a weight in a product, and of a weight that is only looked up. */
export const PRODUCT_RANGE = 63;
export const TABLE_RANGE = 127;

export interface Int8Rows {
  /** [rows, width] */
  readonly values: Int8Array;
  /** [rows] */
  readonly scales: Float32Array;
}

/** Quantizes float32 [rows, width] to 8 bits, with one scale per row. A row of zeros has scale 0. */
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
    // Math.round takes three times as long.
    for (let i = start; i < start + width; i++) values[i] = Math.max(-range, Math.min(range, Math.floor(weights[i]! / scale + 0.5)));
  }
  return { values, scales };
}

/** Writes the transpose of [rows, width] into [width, columns], from column `at` on. */
export function intoColumns(
  target: Int8Array,
  values: Int8Array,
  { width, at, columns }: { width: number; at: number; columns: number },
): void {
  const rows = values.length / width;
  for (let first = 0; first < rows; first += STRIPE) {
    const end = Math.min(rows, first + STRIPE);
    for (let i = 0; i < width; i++) {
      const to = i * columns + at;
      for (let row = first, from = first * width + i; row < end; row++, from += width) target[to + row] = values[from]!;
    }
  }
}
const STRIPE = 64; // rows whose current bytes stay in the processor's cache while their columns are written
