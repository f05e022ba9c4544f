/** @file LoraHub (Huang et al. 2023, arXiv:2307.13269): a few labeled examples of a new task choose one weight per expert, without
 *  gradients.
 *
 *      A = sum_z w_z A_z,   B = sum_z w_z scaling_z B_z          (so the product has cross terms)
 *      w minimizes  L(w) + 0.05 mean_z |w_z|,   |w_z| <= 1.5,   from w = 0,   in 40 evaluations
 *
 *  The authors search with Nevergrad's NGOpt. Skein uses an evolution strategy with one parent and one child (Rechenberg 1973). It
 *  changes a few weights at a time, and makes its steps larger after success and smaller after failure. */

import * as z from "zod";
import type { LoraAdapter, LoraWeights } from "../adapters/adapter.ts";
import type { Expert } from "../adapters/expert.ts";
import { seededRandom } from "../base/random.ts";
import { float32 } from "../base/tensor.ts";
import { loraOf } from "./stack.ts";

/** The options of the search. */
export const searchOptions = z.strictObject({
  evaluations: z.int().min(1).default(40).meta({ description: "Weights tried." }),
  seed: z.int().default(42).meta({ description: "Decides which weights are tried." }),
});

/** How LoraHub searches. */
export interface SearchOptions {
  /** The number of evaluations of L. */
  readonly evaluations?: number;
  readonly seed?: number;
  /** Weight of mean |w|. */
  readonly penalty?: number;
  /** Largest |w|. */
  readonly limit?: number;
}
/** What LoraHub's search found. */
export interface Found {
  readonly weights: readonly number[];
  /** L(w) + penalty mean |w| for these weights. */
  readonly objective: number;
  readonly evaluations: number;
}

const FIRST_STEP = 0.5;
// One success enlarges the steps as much as four failures reduce them, so a success rate of one in five keeps them constant (Rechenberg's rule).
const [WIDER, NARROWER] = [1.5, 1.5 ** (-1 / 4)];
const SHARE = 0.3; // share of the weights that a step changes

/** Weights for `count` experts. `loss`: L(w). */
export async function searchWeights(
  loss: (weights: readonly number[]) => Promise<number>,
  count: number,
  { evaluations = 40, seed = 42, penalty = 0.05, limit = 1.5 }: SearchOptions = {},
): Promise<Found> {
  const random = seededRandom(seed);
  const objective = async (w: readonly number[]) =>
    (await loss(w)) + (penalty * w.reduce((sum, value) => sum + Math.abs(value), 0)) / count;
  let weights: readonly number[] = Array<number>(count).fill(0);
  let best = await objective(weights);
  let step = FIRST_STEP;
  for (let done = 1; done < evaluations; done++) {
    const forced = random.integer(count); // one weight always changes
    const child = weights.map((value, z) => {
      if (z !== forced && random.next() >= SHARE) return value;
      return Math.max(-limit, Math.min(limit, value + step * random.normal()));
    });
    const score = await objective(child);
    step *= score <= best ? WIDER : NARROWER;
    if (score <= best) [weights, best] = [child, score];
  }
  return { weights, objective: best, evaluations };
}

/** The experts' factors summed with these weights. Smaller ranks are filled with zeros. An expert without a module is left out there. */
export function combinedLora(experts: readonly Expert[], weights: readonly number[]): LoraAdapter {
  const loras = experts.map(loraOf);
  const modules = new Map<string, LoraWeights>();
  for (const module of new Set(loras.flatMap((lora) => [...lora.keys()]))) {
    const shares = loras.flatMap((lora, z) => {
      const own = lora.get(module);
      return own ? [{ own, weight: weights[z]! }] : [];
    });
    modules.set(module, combined(shares));
  }
  return { kind: "lora", modules, warnings: [] };
}

function combined(shares: readonly { readonly own: LoraWeights; readonly weight: number }[]): LoraWeights {
  const rank = Math.max(...shares.map(({ own }) => own.rank));
  const [width = 0, out = 0] = [shares[0]?.own.a.shape[1], shares[0]?.own.b.shape[0]];
  const [a, b] = [float32([rank, width]), float32([out, rank])];
  for (const { own, weight } of shares) {
    for (let i = 0; i < own.a.data.length; i++) a.data[i]! += weight * own.a.data[i]!;
    for (let o = 0; o < out; o++) {
      for (let r = 0; r < own.rank; r++) b.data[o * rank + r]! += weight * own.scaling * own.b.data[o * own.rank + r]!;
    }
  }
  const embedding = shares[0]?.own.embedding;
  return { rank, scaling: 1, a, b, ...(embedding && { embedding }) };
}
