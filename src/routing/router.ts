/** @file The interface of a router: it scores every expert for every token at one module, with one or more vectors per expert.
 *
 *      route(x, module):  s = scores(x, prototypes)   [batch, sequence, experts]
 *                         experts, weights = the k best scores and their softmax
 *
 *  Each method is one small file that defines the vectors and the scores. The softmax over the k chosen experts equals the
 *  PHATGOOSE authors' softmax over all experts, top-k, renormalize (up to the 1e-6 in their denominator).
 *  Methods that choose per sequence add a bias [batch, experts] of 0 and BARRED to the scores. */

import type { Expert } from "../adapters/expert.ts";
import type { HostTensor } from "../base/tensor.ts";
import { less, max, mul, where } from "../graph/ops/elementwise.ts";
import { reduceSum, softmax, topK } from "../graph/ops/reduce.ts";
import type { Float, Int } from "../graph/value.ts";

/** The score of an expert that is not a candidate. If all experts are barred, none has a weight and the module's output is the base's. */
export const BARRED = Number.NEGATIVE_INFINITY;

/** Which experts serve which tokens at one module, in a graph. */
export interface Route {
  /** int64 [batch, sequence, k], best first. */
  readonly experts: Int;
  /** [batch, sequence, k]; each row sums to 1, or to 0 if no expert is a candidate. */
  readonly weights: Float;
  /** [batch, sequence, experts]: what the k best were chosen by; absent where a method has no scores of single tokens. BARRED for experts
   *  that are no candidates. */
  readonly scores?: Float;
}

/** How every expert is scored for every token at a module; the k best serve it. */
export interface Router {
  readonly name: string;
  /** The name and every option that changes the graph: equal keys build equal graphs. */
  readonly key: string;
  /** Experts per token; Infinity for all experts of the pool. */
  readonly topK: number;
  /** Whether the weights mix the experts' outputs, sum_j w_j B_j A_j x, or their parameters, (sum_j w_j B_j)(sum_j w_j A_j) x. */
  readonly mixes: "outputs" | "parameters";
  /** Whether the weights of a token's experts are normalized to sum to 1 (default). Otherwise they stay their shares of the softmax over
   *  all experts, and the update is smaller by their sum. Only mixtures of outputs can do this. */
  readonly renormalize?: boolean;
  /** The remedy for an expert without the data that the router needs: a sentence. */
  readonly remedy: string;
  /** What an expert must bring for it, where that can be made from the expert and examples. */
  readonly needs?: "gates" | "activations";
  /** The name of a long computation that makes prototypes from adapters alone, with what its results depend on. They can be kept under it. */
  readonly computation?: string;
  /** The expert's vectors that the router scores with at `module`: [rows, in]. If experts differ in rows, the smaller ones are filled
   *  with 0. Undefined if the expert cannot be scored there; it is then not a candidate. */
  prototype(expert: Expert, module: string): HostTensor<"float32"> | undefined;
  /** x: [batch, sequence, in], prototypes: [experts * rows, in] -> [batch, sequence or 1, experts]. */
  scores(x: Float, prototypes: Float, rows: number): Float;
}

// Finite, and below every score of a finite input.
const LEAST = -1e30;

/** The k best experts of each token. scores: [batch, sequence, experts]. Ties go to the lower index.
 *  `renormalize`: the router's. `barred`: whether some expert may be barred, which takes more operators (default). */
export function chosen(
  scores: Float,
  k: number,
  { renormalize = true, barred = true }: Pick<Router, "renormalize"> & { readonly barred?: boolean } = {},
): Route {
  const { values, indices } = topK(scores, k);
  const weights = barred ? candidateWeights(values) : softmax(values);
  return { experts: indices, weights: renormalize ? weights : mul(weights, shareOfBest(scores, k)) };
}

/** The share of the k best experts in the softmax over all. scores: [batch, sequence, experts] -> [batch, sequence, 1] */
function shareOfBest(scores: Float, k: number): Float {
  return reduceSum(topK(softmax(max(scores, LEAST)), k).values);
}

/** The softmax of scores over the last axis; all 0 if every expert is barred. */
export function candidateWeights(scores: Float): Float {
  return where(less(scores, LEAST), 0, softmax(max(scores, LEAST)));
}

/** `prototype`, computed when it is read, and remembered for each expert and module while memory allows. */
export function remembered(prototype: Router["prototype"]): Router["prototype"] {
  const known = new WeakMap<Expert, Map<string, HostTensor<"float32"> | undefined>>();
  return (expert, module) => {
    const ofExpert = known.get(expert) ?? new Map<string, HostTensor<"float32"> | undefined>();
    known.set(expert, ofExpert);
    if (!ofExpert.has(module)) ofExpert.set(module, prototype(expert, module));
    return ofExpert.get(module);
  };
}
