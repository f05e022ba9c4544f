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

/** The feed of the labels: int64 [batch, sequence], with an encoder [batch, targets]. */
export function labelsOf(graph: Graph, { kind }: Pick<Architecture, "kind">): Int {
  return graph.int("labels", "batch", kind === "encoder-decoder" ? "targets" : "sequence");
}

/** 1 where a label counts, 0 elsewhere. */
export function realLabels(labels: Int): Float {
  return toFloat(lessOrEqual(integer(labels, 0), labels));
}

/** logits: [batch, sequence, vocabulary], labels: int64 [batch, sequence], each the target of its own position. */
export function crossEntropy(logits: Float, labels: Int): Loss {
  const real = realLabels(labels);
  const picked = gatherElements(logSoftmax(logits), unsqueeze(maxInt(labels, 0), -1));
  const perToken = neg(mul(reshape(picked, ...labels.shape), real));
  const total = (x: Float) => reduceSum(x, { axes: [0, 1], keep: false });
  const count = total(real);
  return { mean: div(total(perToken), count), count, perToken };
}
