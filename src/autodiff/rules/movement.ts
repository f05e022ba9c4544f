/** @file Gradients of operators that move numbers: the gradient is moved back. */

import { invariant } from "../../base/errors.ts";
import { scalar } from "../../graph/ops/elementwise.ts";
import { concat, expand, reshape, scatterAddElements, scatterAddRows, slice, transpose } from "../../graph/ops/movement.ts";
import { axisOf, type Shape, type Size } from "../../graph/sizes.ts";
import type { Float, Int, Value } from "../../graph/value.ts";
import { operand, type Rule, unbroadcast, zerosLike } from "../rule.ts";

const known = (value: Value): number => {
  const tensor = value.graph.constantOf(value);
  invariant(tensor, "only slices with constant bounds have a gradient");
  return Number(tensor.data[0]);
};

/** Zeros in the shape of `like`, with `size` along `axis`. */
function zeros(like: Value, axis: number, size: Size): Float {
  return expand(scalar(like, 0), ...like.shape.map((s, i): Size => (i === axis ? size : s)));
}

const inverse = (order: readonly number[]): number[] => order.map((_, axis) => order.indexOf(axis));

export const movement = {
  Reshape: ((node, g) => [reshape(g, ...operand(node, 0).shape)]) satisfies Rule<"Reshape">,
  Expand: ((node, g) => [unbroadcast(g, operand(node, 0).shape)]) satisfies Rule<"Expand">,
  Transpose: ((node, g) => [transpose(g, inverse(node.attributes.order))]) satisfies Rule<"Transpose">,
  Concat: ((node, g, wanted) => {
    const axis = axisOf(g.shape, node.attributes.axis);
    let start = 0;
    return node.inputs.map((input, i) => {
      const size = (input!.shape as Shape)[axis];
      invariant(typeof size === "number", "Concat has a gradient only along an axis of numeric size");
      start += size;
      return wanted[i] ? slice(g, axis, start - size, start) : undefined;
    });
  }) satisfies Rule<"Concat">,
  // The rest of the axis gets zeros.
  Slice: ((node, g) => {
    const x = operand(node, 0);
    const axis = axisOf(x.shape, node.attributes.axis);
    const full = x.shape[axis];
    invariant(typeof full === "number", "Slice has a gradient only along an axis of numeric size");
    const bound = known(node.inputs[1]!);
    const start = Math.min(Math.max(bound < 0 ? bound + full : bound, 0), full);
    const [before, after] = [start, full - start - (g.shape[axis] as number)];
    const parts = [...(before > 0 ? [zeros(g, axis, before)] : []), g, ...(after > 0 ? [zeros(g, axis, after)] : [])];
    return [concat(parts, axis)];
  }) satisfies Rule<"Slice">,
  Pad: ((node, g) => {
    const { axis, before } = node.attributes;
    return [slice(g, axis, before, before + (operand(node, 0).shape[axis] as number))];
  }) satisfies Rule<"Pad">,
  // The gradients of a row that was read several times add up.
  Gather: ((node, g) => {
    invariant(node.attributes.axis === 0, "Gather has a gradient only along axis 0");
    return [scatterAddRows(zerosLike(operand(node, 0)), node.inputs[1] as Int, g)];
  }) satisfies Rule<"Gather">,
  GatherElements: ((node, g) => [
    scatterAddElements(zerosLike(operand(node, 0)), node.inputs[1] as Int, g, node.attributes.axis),
  ]) satisfies Rule<"GatherElements">,
  ScatterND: { stop: "a gradient of a gradient is not built", unwritten: true },
  ScatterElements: { stop: "a gradient of a gradient is not built", unwritten: true },
  ShapeOf: { stop: "a size is not a float" },
  Range: { stop: "positions are not floats" },
} as const;
