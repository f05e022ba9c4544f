/** @file Gradients of products, reductions and normalizations.
 *
 *  MatMul, y = a b:            da = g bᵀ,  db = aᵀ g.
 *  Softmax, y = softmax(x):    dx = y (g - sum(g y)).
 *  LogSoftmax:                 dx = g - exp(y) sum(g). If g is 0 except at picked indices: -exp(y) sum(picked), + picked at those indices.
 *  RMS norm, y = x r w with r = 1 / sqrt(mean(x^2) + eps):
 *                              dx = r (g w - x r^2 mean(g w x)),  dw = sum(g x r).
 *  Layer norm, y = xn w + b with xn = (x - mean) r:
 *                              dx = r (gw - mean(gw) - xn mean(gw xn)),  dw = sum(g xn),  db = sum(g). */

import { invariant } from "../../base/errors.ts";
import { add, div, equal, exp, mul, neg, sqrt, square, sub, toFloat, where } from "../../graph/ops/elementwise.ts";
import { int8Matmul, matmul, rotaryEmbedding } from "../../graph/ops/linalg.ts";
import { expand, flattenRows, reshape, scatterAddElements, sizeOf, slice, unsqueeze } from "../../graph/ops/movement.ts";
import { reduceMean, reduceSum } from "../../graph/ops/reduce.ts";
import { axisOf, flattened, type Shape } from "../../graph/sizes.ts";
import type { Float, Int, Value } from "../../graph/value.ts";
import { operand, type Rule, result, unbroadcast, zerosLike } from "../rule.ts";

/** Sums over every axis but the last. */
const sumRows = (x: Float, shape: Shape): Float => unbroadcast(x, shape);

/** Puts the reduced axes back into g and repeats it to the operand's shape. */
function restored(g: Float, shape: Shape, axes: readonly number[]): Float {
  const reduced = new Set(axes.map((axis) => axisOf(shape, axis)));
  return expand(reshape(g, ...shape.map((size, axis) => (reduced.has(axis) ? 1 : size))), ...shape);
}

/** da = alpha g bᵀ when a is not transposed; b gᵀ when it is. Batch axes that were broadcast are summed. */
const matmulRule: Rule<"MatMul"> = (node, g, wanted) => {
  const [a, b] = [operand(node, 0), operand(node, 1)];
  const { transA, transB, alpha } = node.attributes;
  const da = () => {
    const full = transA ? matmul(b, g, { transA: transB, transB: true, alpha }) : matmul(g, b, { transB: !transB, alpha });
    return unbroadcast(full, a.shape);
  };
  const db = () => {
    // One matrix for all rows: one product over all rows, instead of one per batch entry and a sum.
    if (b.shape.length === 2 && a.shape.length > 2 && !transA) {
      const [rows, gradients] = [flattenRows(a), flattenRows(g)];
      return transB ? matmul(gradients, rows, { transA: true, alpha }) : matmul(rows, gradients, { transA: true, alpha });
    }
    const full = transB ? matmul(g, a, { transA: true, transB: transA, alpha }) : matmul(a, g, { transA: !transA, alpha });
    return unbroadcast(full, b.shape);
  };
  return [wanted[0] ? da() : undefined, wanted[1] ? db() : undefined];
};

const layerNormRule: Rule<"LayerNormalization"> = (node, g, wanted) => {
  const [x, scale] = [operand(node, 0), operand(node, 1)];
  const centerd = sub(x, reduceMean(x));
  const r = div(1, sqrt(add(reduceMean(square(centerd)), node.attributes.epsilon)));
  const normal = mul(centerd, r);
  const gw = mul(g, scale);
  const dx = () => mul(r, sub(sub(gw, reduceMean(gw)), mul(normal, reduceMean(mul(gw, normal)))));
  return [
    wanted[0] ? dx() : undefined,
    wanted[1] ? sumRows(mul(g, normal), scale.shape) : undefined,
    ...(node.inputs[2] ? [wanted[2] ? sumRows(g, scale.shape) : undefined] : []),
  ];
};

const rmsNormRule: Rule<"SimplifiedLayerNormalization"> = (node, g, wanted) => {
  const [x, scale, r] = [operand(node, 0), operand(node, 1), result(node, 1)];
  const gw = mul(g, scale);
  const dx = () => mul(r, sub(gw, mul(x, mul(square(r), reduceMean(mul(gw, x))))));
  return [wanted[0] ? dx() : undefined, wanted[1] ? sumRows(mul(g, mul(x, r)), scale.shape) : undefined];
};

const logSoftmaxRule: Rule<"LogSoftmax"> = (node, g) => {
  const y = result(node);
  const axes = [node.attributes.axis];
  const scattered = pickedFrom(g, axisOf(y.shape, node.attributes.axis));
  if (!scattered) return [sub(g, mul(exp(y), reduceSum(g, { axes })))];
  // In a language model's loss, g is 0 except at the target. Building it over a whole vocabulary would waste memory.
  const { index, picked } = scattered;
  return [scatterAddElements(mul(exp(y), neg(reduceSum(picked, { axes }))), index, picked, axes[0])];
};

/** The updates and indices behind `g` if it is a scatter into zeros along `axis`, as the gradient of GatherElements is. */
function pickedFrom(g: Float, axis: number): { index: Int; picked: Float } | undefined {
  const node = g.graph.producer(g);
  if (node?.op !== "ScatterElements") return undefined;
  const [into, index, picked] = node.inputs as [Float, Int, Float];
  const isZeros = into === zerosLike(g);
  return isZeros && axisOf(g.shape, (node.attributes as { axis: number }).axis) === axis ? { index, picked } : undefined;
}

export const linalg = {
  MatMul: matmulRule,
  ReduceSum: ((node, g) => [restored(g, operand(node, 0).shape, node.attributes.axes)]) satisfies Rule<"ReduceSum">,
  ReduceMean: ((node, g) => {
    const { shape } = operand(node, 0);
    const count = flattened(node.attributes.axes.map((axis) => shape[axisOf(shape, axis)]!));
    const share = typeof count === "number" ? mul(g, 1 / count) : div(g, toFloat(reshape(sizeOf(g.graph, count))));
    return [restored(share, shape, node.attributes.axes)];
  }) satisfies Rule<"ReduceMean">,
  // Equal maxima all receive the gradient.
  ReduceMax: ((node, g) => {
    const x = operand(node, 0);
    const { axes } = node.attributes;
    return [where(equal(x, restored(result(node), x.shape, axes)), restored(g, x.shape, axes), 0)];
  }) satisfies Rule<"ReduceMax">,
  // d cumsum = the running sum from the other end.
  CumSum: ((node, g) => {
    const { axis } = node.attributes;
    const running = g.graph.apply("CumSum", [g], { axis })[0] as Float;
    return [add(sub(reduceSum(g, { axes: [axis] }), running), g)];
  }) satisfies Rule<"CumSum">,
  TopK: ((node, g) => [scatterAddElements(zerosLike(operand(node, 0)), node.outputs[1] as Int, g, -1)]) satisfies Rule<"TopK">,
  Softmax: ((node, g) => {
    const y = result(node);
    return [mul(y, sub(g, reduceSum(mul(g, y), { axes: [node.attributes.axis] })))];
  }) satisfies Rule<"Softmax">,
  LogSoftmax: logSoftmaxRule,
  LayerNormalization: layerNormRule,
  SimplifiedLayerNormalization: rmsNormRule,
  // The gradient is rotated by the opposite angle.
  RotaryEmbedding: ((node, g, [, , cosines, sines]) => {
    invariant(!cosines && !sines, "angles are not learned: RotaryEmbedding has a gradient only in what it turns");
    return [rotaryEmbedding(g, node.inputs[1] as Int, { cosines: operand(node, 2), sines: neg(operand(node, 3)) })];
  }) satisfies Rule<"RotaryEmbedding">,
  // The gradient ignores the rounding of x (straight-through, Bengio et al. 2013). The product rounds dy, as SwitchBack does (arXiv:2304.13013).
  Int8MatMul: ((node, g, [, values, scales]) => {
    invariant(!values && !scales, "weights in 8 bits are frozen");
    const [, forward, scale, backward] = node.inputs;
    const scaled = mul(g, scale as Float);
    return [backward ? int8Matmul(scaled, backward as Value<"int8">) : matmul(scaled, toFloat(forward as Value<"int8">), { transB: true })];
  }) satisfies Rule<"Int8MatMul">,
  QuantizeLinear: { stop: "rounded numbers do not move with what they were rounded from" },
  MatMulIntegerToFloat: { stop: "weights in 8 bits are frozen" },
  MatMulNBits: ((node, g, [, values, scales]) => {
    invariant(!values && !scales, "weights in 4 bits are frozen");
    const { in: inputs, out, block } = node.attributes;
    const [, , scale, zeros, numbers, zeroNumbers] = node.inputs;
    invariant(numbers && !zeros === !zeroNumbers, "a product in 4 bits has a gradient only where its weights are given as numbers too");
    const blocks = Math.ceil(inputs / block);
    const levels = g.graph.apply("DequantizeLinear", [numbers, scale], { block })[0] as Float;
    const zero = zeroNumbers ? slice(toFloat(zeroNumbers), -1, 0, blocks) : 8;
    const shift = unsqueeze(mul(scale as Float, zero), 2);
    const weights = reshape(sub(reshape(levels, out, blocks, block), shift), ...levels.shape);
    return [matmul(g, slice(weights, -1, 0, inputs))];
  }) satisfies Rule<"MatMulNBits">,
  DequantizeLinear: { stop: "weights in few bits are frozen" },
  Mixture: { stop: "the mixture serves inference; training uses plain products", unwritten: true },
} as const;
