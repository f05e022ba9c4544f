/** @file What a router is: scores of every expert for every token at one module, from one vector (or a few) per expert.
 *
 *      route(x, module):  s = scores(x, prototypes)   [batch, sequence, experts]
 *                         experts, weights = the k best scores and their softmax
 *
 *  Each method is one small file that says what of an expert it scores by, and how. Taking the softmax over the k chosen
 *  equals the PHATGOOSE authors' softmax over all, top-k, renormalise (up to the 1e-6 in their denominator).
 *  Methods that choose per sequence are a bias [batch, experts] of 0 and BARRED added to the scores. */

import type { Expert } from "../adapters/expert.ts";
import type { HostTensor } from "../base/tensor.ts";
import { softmax, topK } from "../graph/ops/reduce.ts";
import type { Float, Int } from "../graph/value.ts";

/** The score of an expert that is no candidate: exp of it is exactly 0 beside any real score. */
export const BARRED = -1e9;

export interface Route {
  /** int64 [batch, sequence, k], best first. */
  readonly experts: Int;
  /** [batch, sequence, k], each row sums to 1. */
  readonly weights: Float;
}

export interface Router {
  readonly name: string;
  /** Experts that serve a token. */
  readonly topK: number;
  /** What of an expert the router scores by at `module`: [rows, in], the same rows for every expert.
   *  Undefined when the expert cannot be scored there; it is then no candidate. */
  prototype(expert: Expert, module: string): HostTensor<"float32"> | undefined;
  /** x: [batch, sequence, in], prototypes: [experts, rows, in] -> [batch, sequence, experts]. */
  scores(x: Float, prototypes: Float): Float;
}

/** The k best experts of each token. scores: [batch, sequence, experts]. Ties go to the lower index. */
export function chosen(scores: Float, k: number): Route {
  const { values, indices } = topK(scores, k);
  return { experts: indices, weights: softmax(values) };
}
