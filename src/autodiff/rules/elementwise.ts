/** @file Gradients of elementwise operators. g is dLoss/dy. The comment before a rule gives the derivative. */

import type { OpType } from "../../graph/operators.ts";
import * as E from "../../graph/ops/elementwise.ts";
import type { Bool, Float } from "../../graph/value.ts";
import { operand, type Rule, result, type Stop, unbroadcast } from "../rule.ts";

const { add, sub, mul, div, neg } = E;

/** A rule for y = f(a, b) from its two partial gradients, summed back over broadcast axes. */
function binary<Op extends OpType>(
  left: (g: Float, a: Float, b: Float, y: Float) => Float,
  right: (g: Float, a: Float, b: Float, y: Float) => Float,
): Rule<Op> {
  return (node, g, wanted) => {
    const [a, b, y] = [operand(node, 0), operand(node, 1), result(node)];
    return [
      wanted[0] ? unbroadcast(left(g, a, b, y), a.shape) : undefined,
      wanted[1] ? unbroadcast(right(g, a, b, y), b.shape) : undefined,
    ];
  };
}
/** A rule for y = f(x) from the gradient in x and y. */
function unary<Op extends OpType>(dx: (g: Float, x: Float, y: Float) => Float): Rule<Op> {
  return (node, g) => [dx(g, operand(node, 0), result(node))];
}

const GELU_C = Math.sqrt(2 / Math.PI);
/** y = x s with s = sigmoid(w), w = 2 c (x + a x^3):  d = s + y (1 - s) w',  w' = 2 c (1 + 3 a x^2). */
function geluTanhGradient(g: Float, x: Float, y: Float): Float {
  const squared = mul(x, x);
  const s = E.sigmoid(mul(x, add(mul(squared, 2 * 0.044715 * GELU_C), 2 * GELU_C)));
  const slope = add(mul(squared, 6 * 0.044715 * GELU_C), 2 * GELU_C);
  return mul(g, add(s, mul(mul(y, sub(1, s)), slope)));
}

const comparison: Stop = { stop: "a comparison has no gradient" };

export const elementwise = {
  Add: binary(
    (g) => g,
    (g) => g,
  ) satisfies Rule<"Add">,
  Sub: binary(
    (g) => g,
    (g) => neg(g),
  ) satisfies Rule<"Sub">,
  Mul: binary(
    (g, _, b) => mul(g, b),
    (g, a) => mul(g, a),
  ) satisfies Rule<"Mul">,
  // d(a/b) = da / b - y db / b
  Div: binary(
    (g, _, b) => div(g, b),
    (g, _, b, y) => neg(div(mul(g, y), b)),
  ) satisfies Rule<"Div">,
  // A tie sends the gradient to the second operand.
  Max: binary(
    (g, a, b) => E.where(E.less(b, a), g, 0),
    (g, a, b) => E.where(E.less(b, a), 0, g),
  ) satisfies Rule<"Max">,
  Min: binary(
    (g, a, b) => E.where(E.less(a, b), g, 0),
    (g, a, b) => E.where(E.less(a, b), 0, g),
  ) satisfies Rule<"Min">,
  Neg: unary((g) => neg(g)) satisfies Rule<"Neg">,
  Abs: unary((g, x) => mul(g, E.sign(x))) satisfies Rule<"Abs">,
  Sign: { stop: "sign is flat" },
  // d sqrt(x) = dx / (2 y)
  Sqrt: unary((g, _, y) => div(mul(g, 0.5), y)) satisfies Rule<"Sqrt">,
  Exp: unary((g, _, y) => mul(g, y)) satisfies Rule<"Exp">,
  Log: unary((g, x) => div(g, x)) satisfies Rule<"Log">,
  Sin: unary((g, x) => mul(g, E.cos(x))) satisfies Rule<"Sin">,
  Cos: unary((g, x) => neg(mul(g, E.sin(x)))) satisfies Rule<"Cos">,
  // d tanh = 1 - y^2
  Tanh: unary((g, _, y) => mul(g, sub(1, mul(y, y)))) satisfies Rule<"Tanh">,
  // d sigmoid = y (1 - y)
  Sigmoid: unary((g, _, y) => mul(g, mul(y, sub(1, y)))) satisfies Rule<"Sigmoid">,
  // d erf = 2 / sqrt(pi) exp(-x^2)
  Erf: unary((g, x) => mul(g, mul(E.exp(neg(mul(x, x))), 2 / Math.sqrt(Math.PI)))) satisfies Rule<"Erf">,
  Relu: unary((g, x) => E.where(E.less(E.scalar(x, 0), x), g, 0)) satisfies Rule<"Relu">,
  // y = x s, s = sigmoid(alpha x): d = s (1 + alpha (x - y))
  QuickGelu: ((node, g) => {
    const [x, y] = [operand(node, 0), result(node)];
    const s = E.sigmoid(node.attributes.alpha === 1 ? x : mul(x, node.attributes.alpha));
    return [mul(g, mul(s, add(mul(sub(x, y), node.attributes.alpha), 1)))];
  }) satisfies Rule<"QuickGelu">,
  FastGelu: unary(geluTanhGradient) satisfies Rule<"FastGelu">,
  Cast: { stop: "a cast leaves the floats" },
  BitCast: { stop: "bits have no gradient" },
  Equal: comparison,
  Less: comparison,
  LessOrEqual: comparison,
  And: comparison,
  Or: comparison,
  Not: comparison,
  Where: ((node, g, wanted) => {
    const condition = node.inputs[0] as Bool;
    const [a, b] = [operand(node, 1), operand(node, 2)];
    return [
      undefined,
      wanted[1] ? unbroadcast(E.where(condition, g, 0), a.shape) : undefined,
      wanted[2] ? unbroadcast(E.where(condition, 0, g), b.shape) : undefined,
    ];
  }) satisfies Rule<"Where">,
} as const;
