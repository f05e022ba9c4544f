/** @file A product with weights in 8 bits; each row of x is rounded with a scale of its own:
 *
 *      m = max |x| over the row,   q = round(127 x / m) + 128 in uint8,   y = m / 127 scale (q - 128) W
 *
 *  The engine's own DynamicQuantizeLinear has one scale for the whole tensor, so one row's result would depend on the other rows.
 *  Modules with the same input x share the rounding, since equal nodes are one. */

import { float32 } from "../../base/tensor.ts";
import { abs, div, max, mul } from "../ops/elementwise.ts";
import { matmul } from "../ops/linalg.ts";
import { reduceMax } from "../ops/reduce.ts";
import type { Float, Value } from "../value.ts";

const LEVELS = 127;
const MIDDLE = 128;
/** The smallest divisor. A row with a smaller maximum becomes zeros, and the division stays finite. */
const SMALLEST = 1e-30;

/** x: [..., in], values: int8 [in, out], scales: [out] -> [..., out] */
export function int8Product(x: Float, values: Value<"int8">, scales: Float): Float {
  const { graph } = x;
  const step = graph.constant(float32([], [1 / LEVELS]));
  const middle = graph.constant({ dtype: "uint8", shape: [], data: Uint8Array.of(MIDDLE) });
  const most = max(reduceMax(abs(x), { axes: [-1] }), SMALLEST);
  const levels = graph.apply("QuantizeLinear", [div(x, most), step, middle], {})[0]!;
  const product = graph.apply("MatMulIntegerToFloat", [levels, values, step, scales, middle], {})[0] as Float;
  return mul(product, most);
}

/** The same product where the device has no products of integers: the weights become floats, and x is not rounded. */
export function int8ProductInFloats(x: Float, values: Value<"int8">, scales: Float): Float {
  return matmul(x, x.graph.apply("DequantizeLinear", [values, scales], {})[0] as Float);
}
