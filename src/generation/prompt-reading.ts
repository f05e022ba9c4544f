/** @file What is computed from the tokens of a prompt while it is read, a chunk at a time.
 *
 *      scores       log softmax of the logits -> that of the next token, and the best k
 *      embedding    the mean of the last states, at unit length */

import type { HostTensor } from "../base/tensor.ts";
import { mul, toFloat } from "../graph/ops/elementwise.ts";
import { gatherElements, reshape, unsqueeze } from "../graph/ops/movement.ts";
import { logSoftmax, reduceSum, topK } from "../graph/ops/reduce.ts";
import type { Float, Graph, Int } from "../graph/value.ts";
import type { Fetches } from "../runtime/session.ts";

export type PromptWork =
  | { readonly kind: "scores" /** Likeliest tokens to report. */; readonly top: number }
  | { readonly kind: "embedding" };

/** How likely a token of a prompt was. */
export interface NextToken {
  /** Of the token that stands there. */
  readonly logprob: number;
  /** The likeliest tokens, best first. */
  readonly top: readonly { readonly id: number; readonly logprob: number }[];
}

export type PromptResult =
  | { readonly kind: "scores" /** One for each token but the first. */; readonly tokens: readonly NextToken[] }
  | { readonly kind: "embedding" /** [hidden] */; readonly vector: Float32Array };

/** The feed of each token's successor: int64 [batch, sequence]. */
export const LABELS = "labels";
const OUTPUTS = { own: "prompt.own", best: "prompt.best", values: "prompt.values", sum: "prompt.sum" } as const;
const GRAPHS = [1, 5, 20]; // numbers of likeliest tokens that have a graph

/** The work of the graph that does this work: few graphs serve all numbers of likeliest tokens. */
export function graphWork(work: PromptWork): PromptWork {
  if (work.kind === "embedding") return work;
  return { kind: "scores", top: GRAPHS.find((size) => size >= work.top) ?? work.top };
}

/** Fetches the scores of the next tokens. logits: [batch, sequence, vocabulary] */
export function scoreOutputs(graph: Graph, logits: Float, top: number): void {
  const logprobs = logSoftmax(logits);
  const vocabulary = logits.shape[2];
  const likeliest = topK(logprobs, typeof vocabulary === "number" ? Math.min(top, vocabulary) : top);
  const labels = graph.int(LABELS, "batch", "sequence");
  graph.output(OUTPUTS.own, reshape(gatherElements(logprobs, unsqueeze(labels, -1)), "batch", "sequence"));
  graph.output(OUTPUTS.best, likeliest.indices);
  graph.output(OUTPUTS.values, likeliest.values);
}

/** Fetches the sum of the tokens' states. states: [batch, sequence, hidden], valid: int64 [batch, sequence] */
export function sumOutputs(graph: Graph, states: Float, valid: Int): void {
  graph.output(OUTPUTS.sum, reduceSum(mul(states, unsqueeze(toFloat(valid), 2)), { axes: [1], keep: false }));
}

/** The scores of `count` tokens from column `start` of a row. */
export function scoresIn(fetches: Fetches, row: number, start: number, count: number, top: number): NextToken[] {
  const [own, best, values] = [OUTPUTS.own, OUTPUTS.best, OUTPUTS.values].map((name) => fetches[name] as HostTensor);
  const [, width = 0, k = 0] = best!.shape;
  return Array.from({ length: count }, (_, i) => {
    const at = row * width + start + i;
    const likeliest = Array.from({ length: Math.min(top, k) }, (_, j) => ({
      id: Number(best!.data[at * k + j]),
      logprob: Number(values!.data[at * k + j]),
    }));
    return { logprob: Number(own!.data[at]), top: likeliest };
  });
}

/** The work on one prompt. */
export class PromptReading {
  readonly work: PromptWork;
  #tokens: NextToken[] = [];
  #sum: Float32Array | undefined;
  #result: PromptResult | undefined;

  constructor(work: PromptWork) {
    this.work = work;
  }
  /** Once the whole prompt is read. */
  get result(): PromptResult | undefined {
    return this.#result;
  }

  /** Takes the last `count` of `columns` tokens of a row, as a run fetched them. */
  take(fetches: Fetches, row: number, columns: number, count: number): void {
    if (this.work.kind === "scores") {
      for (const token of scoresIn(fetches, row, columns - count, count, this.work.top)) this.#tokens.push(token);
      return;
    }
    const { shape, data } = fetches[OUTPUTS.sum] as HostTensor<"float32">;
    const width = shape[1]!;
    this.#sum ??= new Float32Array(width);
    for (let i = 0; i < width; i++) this.#sum[i]! += data[row * width + i]!;
  }

  /** Called after the last token. */
  finish(): void {
    // The last token has no successor. The mean and the sum have the same direction.
    if (this.work.kind === "scores") this.#result = { kind: "scores", tokens: this.#tokens.slice(0, -1) };
    else this.#result = { kind: "embedding", vector: atUnitLength(this.#sum!) };
  }
}

function atUnitLength(vector: Float32Array): Float32Array {
  const length = Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
  return vector.map((value) => value / Math.max(length, 1e-12));
}
