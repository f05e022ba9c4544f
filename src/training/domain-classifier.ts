/** @file A separate domain classifier: softmax regression on the base model's pooled states. Mixture-of-LoRAs is compared with such a
 *  dispatcher (arXiv:2403.03432). Like the routers, it learns on whitened states h~ (router-standards.ts).
 *
 *      p = softmax(W h~ + b)      dLoss/dz = p - onehot(domain) */

import { derivedSeed, seededRandom } from "../base/random.ts";
import { type AdamWState, adamwStep } from "./adamw.ts";
import { sampled, standardOf, whitened } from "./router-standards.ts";

export interface Classifier {
  /** The most likely domain of a state [hidden]. */
  classify(state: Float32Array): number;
}
export interface ClassifierOptions {
  readonly steps: number;
  readonly batchSize: number;
  readonly lr: number;
  readonly seed: number;
}

const parameter = (size: number): AdamWState => ({ value: new Float32Array(size), m: new Float32Array(size), v: new Float32Array(size) });

/** Trains on states [hidden] with their domains, by AdamW on random batches. */
export function trainClassifier(
  states: readonly Float32Array[],
  domains: readonly number[],
  { steps, batchSize, lr, seed }: ClassifierOptions,
): Classifier {
  const hidden = states[0]!.length;
  const standard = standardOf(sampled(states));
  const read = (state: Float32Array) => whitened(state, standard);
  const known = states.map(read);
  const numDomains = Math.max(...domains) + 1;
  const [weight, bias] = [parameter(numDomains * hidden), parameter(numDomains)];
  const random = seededRandom(derivedSeed(seed, "classifier"));
  for (let step = 0; step < steps; step++) {
    const [dw, db] = [new Float32Array(numDomains * hidden), new Float32Array(numDomains)];
    for (let i = 0; i < batchSize; i++) {
      const index = random.integer(states.length);
      const errors = softmax(scoresOf(known[index]!, weight.value, bias.value));
      errors[domains[index]!]! -= 1;
      errors.forEach((error, d) => {
        db[d]! += error / batchSize;
        known[index]!.forEach((value, j) => {
          dw[d * hidden + j]! += (error * value) / batchSize;
        });
      });
    }
    adamwStep(weight, dw, lr, step + 1);
    adamwStep(bias, db, lr, step + 1);
  }
  return {
    classify: (state) => {
      const scores = scoresOf(read(state), weight.value, bias.value);
      return scores.indexOf(Math.max(...scores));
    },
  };
}

function scoresOf(state: Float32Array, weight: Float32Array, bias: Float32Array): number[] {
  return Array.from(bias, (b, d) => state.reduce((sum, value, j) => sum + value * weight[d * state.length + j]!, b));
}

function softmax(scores: readonly number[]): number[] {
  const top = Math.max(...scores);
  const exps = scores.map((score) => Math.exp(score - top));
  const sum = exps.reduce((a, b) => a + b, 0);
  return exps.map((value) => value / sum);
}
