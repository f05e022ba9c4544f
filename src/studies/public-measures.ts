/** @file What the study on public data measures of a task, and the intervals of differences.
 *
 *    loss        - sum of log-probabilities / number of tokens, over all answers of the task, in nats
 *    accuracy    share of rows whose best choice, by the mean log-probability of its tokens, is right; only where a task has choices
 *
 *  An interval is of the mean difference between two methods. Seeds are drawn with replacement, then tasks within each seed, as pairs: both
 *  methods are compared on the same task of the same seed (Efron 1979; 95 %, percentiles). */

import { seededRandom } from "../base/random.ts";
import type { TaskResult } from "../evaluation/scoring/run-task.ts";

export interface Measure {
  readonly loss: number;
  readonly tokens: number;
  readonly accuracy?: number;
}

/** The measures of a task's outcomes. */
export function measured({ outcomes, score }: Pick<TaskResult, "outcomes" | "score">): Measure {
  let [sum, tokens] = [0, 0];
  const hasChoices = outcomes.every(({ choices }) => choices !== undefined);
  for (const { choices, label = -1, target } of outcomes) {
    const likelihood = target ?? choices?.[label];
    if (!likelihood) continue;
    sum += likelihood.sum;
    tokens += likelihood.tokens;
  }
  return { loss: Number((-sum / tokens).toFixed(4)), tokens, ...(hasChoices && { accuracy: Number(score.value.toFixed(4)) }) };
}

export interface Interval {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
}
const RESAMPLES = 2000;

/** The mean over seeds of the mean over tasks, and its interval. `values`: by seed, then task. */
export function bootstrapInterval(values: readonly (readonly number[])[], seed = 1): Interval {
  const random = seededRandom(seed);
  const drawn = <T>(from: readonly T[]): T[] => from.map(() => from[random.integer(from.length)]!);
  const over = (runs: readonly (readonly number[])[]) => meanOf(runs.map(meanOf));
  const means = Array.from({ length: RESAMPLES }, () => over(drawn(values).map(drawn))).sort((a, b) => a - b);
  const at = (share: number) => means[Math.min(means.length - 1, Math.floor(share * means.length))]!;
  return { mean: over(values), low: at(0.025), high: at(0.975) };
}

export const meanOf = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
