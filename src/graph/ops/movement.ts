/** @file Operators that move numbers without computing: reshape, transpose, slice, gather and their kin. */

import { ShapeError } from "../../base/errors.ts";
import { int64 } from "../../base/tensor.ts";
import { axisOf, type DType, factorsOf, flattened, productOf, type Shape, type Size, show } from "../sizes.ts";
import type { Float, Graph, Int, Value } from "../value.ts";

/** int64 vector constant. */
export function integers(graph: Graph, numbers: readonly number[]): Int {
  return graph.constant(int64([numbers.length], numbers));
}

/** The run-time value of a size, as int64 [1]. */
export function sizeOf(graph: Graph, size: Size): Int {
  if (typeof size === "number") return integers(graph, [size]);
  const factors = factorsOf(size);
  if (factors.length > 1) return factors.map((factor) => sizeOf(graph, factor)).reduce((a, b) => graph.apply("Mul", [a, b], {})[0] as Int);
  const { value, axis } = graph.holderOf(size);
  return graph.apply("ShapeOf", [value], { axis })[0] as Int;
}

/** The target shape of a Reshape. 0 keeps an axis and -1 takes what remains; two or more unknown sizes are computed at run time. */
function reshapeTarget(x: Value, shape: Shape): Int {
  const plain = shape.map((size, axis) => (typeof size === "number" ? size : size === x.shape[axis] ? 0 : -1));
  if (plain.filter((size) => size === -1).length <= 1) return integers(x.graph, plain);
  const parts = shape.map((size) => sizeOf(x.graph, size));
  return x.graph.apply("Concat", parts, { axis: 0 })[0] as Int;
}

/** The same numbers in another shape; sizes may be named. */
export function reshape<D extends DType>(x: Value<D>, ...shape: Shape): Value<D> {
  if (String(shape) === String(x.shape)) return x;
  return x.graph.apply("Reshape", [x, reshapeTarget(x, shape)], { shape })[0] as Value<D>;
}

/** x: [a, b, ..., n] -> [a*b*..., n] */
export function flattenRows<D extends DType>(x: Value<D>): Value<D> {
  return x.shape.length === 2 ? x : reshape(x, flattened(x.shape.slice(0, -1)), x.shape.at(-1)!);
}

/** Returns `x` after checking that its axes have these sizes, by number or by name. It finds swapped axes while the graph is built. */
export function shaped<D extends DType>(x: Value<D>, ...shape: Shape): Value<D> {
  if (String(shape) === String(x.shape)) return x;
  throw new ShapeError({
    code: "shape-operands",
    what: `Expected a value of shape [${shape.join(", ")}], got ${show(x)}.`,
    fix: "Compare the order of the axes; reshape or transpose the value if another order is meant.",
  });
}

/** Repeats axes of size 1 (or missing) to `shape`. */
export function expand<D extends DType>(x: Value<D>, ...shape: Shape): Value<D> {
  if (String(shape) === String(x.shape)) return x;
  const target = shape.every((size) => typeof size === "number")
    ? integers(x.graph, shape as number[])
    : (x.graph.apply(
        "Concat",
        shape.map((size) => sizeOf(x.graph, size)),
        { axis: 0 },
      )[0] as Int);
  return x.graph.apply("Expand", [x, target], { shape })[0] as Value<D>;
}

/** Puts the axes in a new order; without `order`, swaps the last two. */
export function transpose<D extends DType>(x: Value<D>, order?: readonly number[]): Value<D> {
  const rank = x.shape.length;
  const swapped = [...Array(rank).keys()].map((axis) => (axis === rank - 1 ? rank - 2 : axis === rank - 2 ? rank - 1 : axis));
  return x.graph.apply("Transpose", [x], { order: order ?? swapped })[0] as Value<D>;
}

/** New axes of size 1 at `axes`, counted in the result. */
export function unsqueeze<D extends DType>(x: Value<D>, ...axes: number[]): Value<D> {
  const rank = x.shape.length + axes.length;
  const added = new Set(axes.map((axis) => (axis < 0 ? axis + rank : axis)));
  const rest = [...x.shape];
  return reshape(x, ...Array.from({ length: rank }, (_, i): Size => (added.has(i) ? 1 : rest.shift()!)));
}

/** `size` names the size of the result where it is known only at run time. */
export function concat<D extends DType>(values: readonly Value<D>[], axis: number, size?: string): Value<D> {
  const first = values[0]!;
  if (values.length === 1) return first;
  return first.graph.apply("Concat", values, size ? { axis, size } : { axis })[0] as Value<D>;
}

/** x[start:end] along `axis`; bounds are numbers or int64 [1]; `size` names a size known only at run time. The whole range returns `x`. */
export function slice<D extends DType>(x: Value<D>, axis: number, start: number | Int, end: number | Int, size?: string): Value<D> {
  if (start === 0 && end === x.shape[axisOf(x.shape, axis)]) return x;
  const bound = (b: number | Int) => (typeof b === "number" ? integers(x.graph, [b]) : b);
  return x.graph.apply("Slice", [x, bound(start), bound(end)], size ? { axis, size } : { axis })[0] as Value<D>;
}

/** Cuts the numeric `axis` into pieces of the given sizes. */
export function split<D extends DType>(x: Value<D>, axis: number, sizes: readonly number[]): Value<D>[] {
  let start = 0;
  return sizes.map((size) => {
    const piece = slice(x, axis, start, start + size);
    start += size;
    return piece;
  });
}

/** Zeros before and after along an axis of numeric size. */
export function pad<D extends DType>(x: Value<D>, axis: number, before: number, after: number): Value<D> {
  if (before === 0 && after === 0) return x;
  return x.graph.apply("Pad", [x], { axis: axisOf(x.shape, axis), before, after })[0] as Value<D>;
}

/** Whole slices x[index] along `axis`. */
export function gather<D extends DType>(x: Value<D>, index: Int, axis = 0): Value<D> {
  return x.graph.apply("Gather", [x, index], { axis })[0] as Value<D>;
}
/** result[.., i, ..] = x[.., index[.., i, ..], ..] along `axis`. */
export function gatherElements<D extends DType>(x: Value<D>, index: Int, axis = -1): Value<D> {
  return x.graph.apply("GatherElements", [x, index], { axis })[0] as Value<D>;
}

/** Adds the rows `updates` at `index`: x[index] += updates, over axis 0. */
export function scatterAddRows(x: Float, index: Int, updates: Float): Float {
  return x.graph.apply("ScatterND", [x, unsqueeze(index, -1), updates], {})[0] as Float;
}
/** x[.., index[.., i, ..], ..] += updates[.., i, ..] along `axis`. */
export function scatterAddElements(x: Float, index: Int, updates: Float, axis = -1): Float {
  return x.graph.apply("ScatterElements", [x, index, updates], { axis })[0] as Float;
}

/** 0, 1, ... up to the run-time value of a named size, as int64 [size]. */
export function range(graph: Graph, size: Size): Int {
  const scalarInt = (n: number) => graph.constant(int64([], [n]));
  return graph.apply("Range", [scalarInt(0), reshape(sizeOf(graph, size)), scalarInt(1)], { size: String(size) })[0] as Int;
}

/** Whether two shapes hold equally many elements. */
export function sameCount(a: Shape, b: Shape): boolean {
  const [left, right] = [productOf(a), productOf(b)];
  return left.count === right.count && left.names === right.names;
}
