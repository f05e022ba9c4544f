/** @file The fused mixture of experts in plain operators, in two ways that give the same numbers:
 *
 *      y = sum_j w_j (B_j f(A_j x + a_j) + b_j),   w = the k largest of softmax(scores), over their sum
 *
 *      gathered   gathers the matrices of each row's k experts; time and memory grow with rows and k; for few rows
 *      masked     computes all experts in two products and multiplies those not chosen by 0; time grows with the number of experts
 *
 *  Ties and special values follow com.microsoft.MoE: of equal weights the later expert is chosen; an expert with score -Infinity has
 *  weight 0; a row whose scores are all -Infinity, or contain NaN, gives 0. Operands: x [rows, n], scores [rows, E], A [E, r, n],
 *  a [E, r] or none, B [E, n, r], b [E, n] or none. */

import type { OpAttributes } from "../operators.ts";
import { add, addInt, div, geluTanh, less, max, mul, relu, scalar, silu, subInt, where } from "../ops/elementwise.ts";
import { matmul } from "../ops/linalg.ts";
import { gather, integers, range, reshape, scatterAddElements, sizeOf, transpose, unsqueeze } from "../ops/movement.ts";
import { reduceMax, reduceSum, softmax, topK } from "../ops/reduce.ts";
import { flattened } from "../sizes.ts";
import type { Float, Int } from "../value.ts";

export type Mixture = "masked" | "gathered";

interface Experts {
  /** [rows, n] */
  readonly x: Float;
  readonly scores: Float;
  readonly a: Float;
  readonly aBias: Float | undefined;
  readonly b: Float;
  readonly bBias: Float | undefined;
  readonly k: number;
  readonly activated: (low: Float) => Float;
}

/** The smallest finite float32. */
const LOWEST = -3.4028234663852886e38;
const ACTIVATIONS = { relu, gelu: geluTanh, silu } as const;

/** The mixture that the operands of a MoE node compute: [rows, n]. */
export function mixtureOf(
  mixture: Mixture,
  [x, scores, a, aBias, b, bBias]: readonly (Float | undefined)[],
  { k, activation }: OpAttributes["MoE"],
): Float {
  const activated = activation ? ACTIVATIONS[activation] : (low: Float) => low;
  const experts: Experts = { x: x!, scores: scores!, a: a!, aBias, b: b!, bBias, k, activated };
  return mixture === "masked" ? masked(experts) : gathered(experts);
}

function masked({ x, scores, a, aBias, b, bBias, k, activated }: Experts): Float {
  const [rows, [experts, rank, n]] = [x.shape[0]!, a.shape];
  const all = flattened([experts!, rank!]);
  const { places, weights } = chosen(scores, k);
  const zeros = where(less(scores, 0), 0, 0); // in the scores' shape, whatever they are
  const reversed = scatterAddElements(zeros, places, weights);
  const mask = gather(reversed, reversal(scores), -1);
  const low = matmul(x, reshape(a, all, n!), { transB: true });
  const hidden = activated(aBias ? add(low, reshape(aBias, all)) : low);
  const kept = reshape(mul(reshape(hidden, rows, experts!, rank!), unsqueeze(mask, -1)), rows, all);
  const sum = matmul(kept, reshape(transpose(b, [0, 2, 1]), all, n!));
  return bBias ? add(sum, matmul(mask, bBias)) : sum;
}

function gathered({ x, scores, a, aBias, b, bBias, k, activated }: Experts): Float {
  const [rows, n] = x.shape;
  const { places, weights } = chosen(scores, k);
  const experts = gather(reversal(scores), places);
  const low = matmul(gather(a, experts), reshape(x, rows!, 1, n!, 1)); // [rows, k, r, 1]
  const hidden = activated(aBias ? add(low, unsqueeze(gather(aBias, experts), -1)) : low);
  const up = reshape(matmul(gather(b, experts), hidden), rows!, k, n!);
  const each = bBias ? add(up, gather(bBias, experts)) : up;
  return reduceSum(mul(each, unsqueeze(weights, -1)), { axes: [1], keep: false });
}

/** The k chosen experts of each row, counted from the end, and their weights: [rows, k]. TopK takes the first of equal numbers. */
function chosen(scores: Float, k: number): { places: Int; weights: Float } {
  const shares = softmax(max(scores, LOWEST));
  const { values, indices } = topK(gather(shares, reversal(scores), -1), k);
  // If every score is -Infinity the shares are equal. NaN shares are not above 0.
  const isChosen = less(scalar(scores, 0), where(less(reduceMax(scores), LOWEST), 0, values));
  return { places: indices, weights: where(isChosen, div(values, reduceSum(values)), 0) };
}

/** Each expert's index counted from the end: E - 1, E - 2, ..., 0. */
function reversal(scores: Float): Int {
  const { graph, shape } = scores;
  const experts = shape[1]!;
  if (typeof experts === "number") return integers(graph, [...Array(experts).keys()].reverse());
  return subInt(addInt(sizeOf(graph, experts), -1), range(graph, experts));
}
