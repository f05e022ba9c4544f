/** @file The type of a gradient rule, and the helpers that rules share. */

import type { OpType } from "../graph/operators.ts";
import { scalar } from "../graph/ops/elementwise.ts";
import { expand, reshape } from "../graph/ops/movement.ts";
import { reduceSum } from "../graph/ops/reduce.ts";
import type { Shape } from "../graph/sizes.ts";
import type { Float, Node, Value } from "../graph/value.ts";

/** dLoss/dOperand for each operand, from dLoss/dOutput; undefined for an operand without a gradient.
 *  `wanted[i]` is true if operand i leads to a parameter; a rule may skip the others. */
export type Rule<Op extends OpType> = (node: Node<Op>, gradient: Float, wanted: readonly boolean[]) => readonly (Float | undefined)[];

/** An operator without a gradient, with the reason. */
export interface Stop {
  readonly stop: string;
  /** The gradient exists but has no rule here. The walk then fails, instead of leaving out a part of the gradient. */
  readonly unwritten?: true;
}

export const operand = (node: Node<OpType>, index: number): Float => node.inputs[index] as Float;
export const result = (node: Node<OpType>, index = 0): Float => node.outputs[index] as Float;

/** The gradient of a broadcast: sums over the axes that were repeated. */
export function unbroadcast(gradient: Float, shape: Shape): Float {
  const missing = gradient.shape.length - shape.length;
  const repeated = gradient.shape.flatMap((size, axis) => (axis < missing || (shape[axis - missing] === 1 && size !== 1) ? [axis] : []));
  const sum = repeated.length === 0 ? gradient : reduceSum(gradient, { axes: repeated });
  return reshape(sum, ...shape);
}

/** Zeros in the shape of `like`. */
export function zerosLike(like: Value): Float {
  return expand(scalar(like, 0), ...like.shape);
}
