/** @file Four-bit weights in blocks of 32 along the input, in the format of ONNX Runtime's MatMulNBits (docs/ContribOperators.md):
 *
 *      W[o, i] = scale[o, b] (q[o, i] - 8),   b = floor(i / 32),   q in 0..15
 *
 *  The value of largest magnitude in a block becomes q = 0, which is farthest from 8 (llama.cpp's q4_0 does the same). Two adjacent
 *  values share a byte, the first in the low half. */

export const BLOCK = 32;
const MIDDLE = 8;

export interface Int4Rows {
  /** [rows, blocks, 16] */
  readonly values: Uint8Array;
  /** [rows, blocks] */
  readonly scales: Float32Array;
}

/** Quantizes float32 [rows, width] in blocks of 4 bits; the last block is filled with zeros. */
export function int4Rows(weights: Float32Array, width: number): Int4Rows {
  const rows = weights.length / width;
  const blocks = Math.ceil(width / BLOCK);
  const values = new Uint8Array((rows * blocks * BLOCK) / 2);
  const scales = new Float32Array(rows * blocks);
  for (let row = 0; row < rows; row++) {
    for (let block = 0; block < blocks; block++) {
      const from = row * width + block * BLOCK;
      const length = Math.min(BLOCK, width - block * BLOCK);
      const index = row * blocks + block;
      const scale = blockScale(weights, from, length);
      scales[index] = scale;
      for (let i = 0; i < BLOCK; i++) {
        const level = scale === 0 || i >= length ? MIDDLE : Math.max(0, Math.min(15, Math.round(weights[from + i]! / scale) + MIDDLE));
        values[(index * BLOCK + i) >> 1]! |= i % 2 === 0 ? level : level << 4;
      }
    }
  }
  return { values, scales };
}

function blockScale(weights: Float32Array, from: number, length: number): number {
  let furthest = 0;
  for (let i = from; i < from + length; i++) if (Math.abs(weights[i]!) > Math.abs(furthest)) furthest = weights[i]!;
  return Math.fround(furthest / -MIDDLE) || 0; // no -0
}
