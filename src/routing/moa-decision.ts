/** @file The rules that turn the routers' scores into a domain (Mixture-of-LoRAs, arXiv:2403.03432).
 *
 *      vote        the domain of most layers; ties go to the largest summed score              (the paper's first rule)
 *      last        the domain of the last router                                               (the paper's second rule)
 *      per-layer   each layer follows its own router, so one sequence may use several LoRAs    (Skein's, for comparison) */

import type { HostTensor } from "../base/tensor.ts";

export const DECISION_RULES = ["vote", "last", "per-layer"] as const;
export type DecisionRule = (typeof DECISION_RULES)[number];

/** The decision for one row. */
export interface Decision {
  /** Each layer's domain under the rule; all are equal, except with per-layer. */
  readonly domains: readonly number[];
  /** Each layer's own best domain; empty if no router ran. */
  readonly votes: readonly number[];
}

/** scores: [batch, layers, domains] -> a decision for each row. Among equal scores the lower domain wins. */
export function decided({ data, shape }: HostTensor<"float32">, rule: DecisionRule): Decision[] {
  const [batch, numLayers, numDomains] = shape as [number, number, number];
  return Array.from({ length: batch }, (_, row) => {
    const layers = Array.from({ length: numLayers }, (_, layer) => {
      const start = (row * numLayers + layer) * numDomains;
      return [...data.subarray(start, start + numDomains)];
    });
    const votes = layers.map(best);
    if (rule === "per-layer") return { domains: votes, votes };
    const domain = rule === "last" ? votes.at(-1)! : majority(votes, layers, numDomains);
    return { domains: votes.map(() => domain), votes };
  });
}

function majority(votes: readonly number[], layers: readonly (readonly number[])[], numDomains: number): number {
  const counts = Array.from({ length: numDomains }, (_, domain) => votes.filter((vote) => vote === domain).length);
  const most = Math.max(...counts);
  const sums = counts.map((count, domain) =>
    count === most ? layers.reduce((sum, scores) => sum + scores[domain]!, 0) : Number.NEGATIVE_INFINITY,
  );
  return best(sums);
}

function best(scores: readonly number[]): number {
  return scores.reduce((top, score, i) => (score > scores[top]! ? i : top), 0);
}
