/** @file Reductions, cumulative sums, top-k and normalizations along an axis. */

import { float32 } from "../../base/tensor.ts";
import type { Float, Int, Value } from "../value.ts";

interface Axes {
  /** Axes to reduce; the last when absent. */
  readonly axes?: readonly number[];
  /** Keep reduced axes with size 1 (the default). */
  readonly keep?: boolean;
}
function reduction(op: "ReduceSum" | "ReduceMean" | "ReduceMax"): (x: Float, options?: Axes) => Float {
  return (x, { axes = [-1], keep = true } = {}) => x.graph.apply(op, [x], { axes, keep })[0] as Float;
}
export const reduceSum = reduction("ReduceSum");
export const reduceMean = reduction("ReduceMean");
export const reduceMax = reduction("ReduceMax");

/** Running sum along `axis`, the element itself included. */
export function cumulativeSum<D extends "float32" | "int64">(x: Value<D>, axis: number): Value<D> {
  return x.graph.apply("CumSum", [x], { axis })[0] as Value<D>;
}

/** The k largest along the last axis, largest first. Ties go to the lower index, as ONNX TopK does. */
export function topK(x: Float, k: number): { values: Float; indices: Int } {
  const [values, indices] = x.graph.apply("TopK", [x], { k });
  return { values: values as Float, indices: indices as Int };
}

export function softmax(x: Float, axis = -1): Float {
  return x.graph.apply("Softmax", [x], { axis })[0] as Float;
}
export function logSoftmax(x: Float, axis = -1): Float {
  return x.graph.apply("LogSoftmax", [x], { axis })[0] as Float;
}

/** (x - mean) / sqrt(variance + epsilon) * scale + bias over the last axis, biased variance (Ba et al. 2016). */
export function layerNorm(x: Float, scale: Float, { bias, epsilon }: { bias?: Float; epsilon: number }): Float {
  return x.graph.apply("LayerNormalization", bias ? [x, scale, bias] : [x, scale], { epsilon })[0] as Float;
}

/** `factor` times the layer norm without scale or bias: what PHATGOOSE calls standardizing. */
export function standardize(x: Float, epsilon: number, factor = 1): Float {
  const size = x.shape.at(-1) as number;
  return layerNorm(x, x.graph.constant(float32([size], new Float32Array(size).fill(factor))), { epsilon });
}

/** x / sqrt(mean(x^2) + epsilon) * scale over the last axis (Zhang and Sennrich 2019). */
export function rmsNorm(x: Float, scale: Float, { epsilon }: { epsilon: number }): Float {
  return x.graph.apply("SimplifiedLayerNormalization", [x, scale], { epsilon })[0] as Float;
}
