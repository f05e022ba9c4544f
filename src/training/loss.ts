/** @file Language-model loss: the mean over real targets of -log softmax(logits)[target]. */

import { div, integer, lessOrEqual, maxInt, mul, neg, toFloat } from "../graph/ops/elementwise.ts";
import { gatherElements, reshape, unsqueeze } from "../graph/ops/movement.ts";
import { logSoftmax, reduceSum } from "../graph/ops/reduce.ts";
import type { Float, Graph, Int } from "../graph/value.ts";
import type { Architecture } from "../models/architecture.ts";

/** The label of an ignored position (transformers' ignore index). */
export const IGNORED = -100;

export interface Loss {
  /** Mean negative loglikelihood of a real target, a scalar. */
  readonly mean: Float;
  /** Number of real targets, a scalar. */
  readonly count: Float;
  /** [batch, sequence], 0 where the label is ignored. */
  readonly perToken: Float;
}

/** The feed of the labels: int64 [batch, sequence], with an encoder [batch, targets]. `batch`: the name of the first size. */
export function labelsOf(graph: Graph, { kind }: Pick<Architecture, "kind">, batch = "batch"): Int {
  return graph.int("labels", batch, kind === "encoder-decoder" ? "targets" : "sequence");
}

/** 1 where a label counts, 0 elsewhere. */
export function realLabels(labels: Int): Float {
  return toFloat(lessOrEqual(integer(labels, 0), labels));
}

/** The negative loglikelihood of each target, 0 where the label is ignored; and where it is real: both [batch, sequence].
 *  logits: [batch, sequence, vocabulary], labels: int64 [batch, sequence], each the target of its own position. */
export function tokenLosses(logits: Float, labels: Int): { readonly perToken: Float; readonly real: Float } {
  const real = realLabels(labels);
  const picked = gatherElements(logSoftmax(logits), unsqueeze(maxInt(labels, 0), -1));
  return { perToken: neg(mul(reshape(picked, ...labels.shape), real)), real };
}

/** logits: [batch, sequence, vocabulary], labels: int64 [batch, sequence], each the target of its own position. */
export function crossEntropy(logits: Float, labels: Int): Loss {
  const { perToken, real } = tokenLosses(logits, labels);
  const total = (x: Float) => reduceSum(x, { axes: [0, 1], keep: false });
  const count = total(real);
  return { mean: div(total(perToken), count), count, perToken };
}
