/** @file Standard errors of a mean: closed form and by the bootstrap.
 *
 *    plain      s / sqrt(n),  s^2 = sum (x - mean)^2 / (n - 1)           (lm-evaluation-harness's `mean_stderr`)
 *    bootstrap  the sample standard deviation of the statistic over resamples of n values drawn with replacement
 *               (B. Efron 1979), for statistics such as corpus BLEU that are not means */

import { seededRandom } from "../../base/random.ts";

/** The arithmetic mean of at least one value. */
export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** The sample standard deviation (n - 1); 0 for a single value. */
export function sampleDeviation(values: readonly number[]): number {
  if (values.length < 2) return 0;
  const center = mean(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - center) ** 2, 0) / (values.length - 1));
}

/** The standard error of the mean of `values`. */
export function standardError(values: readonly number[]): number {
  return sampleDeviation(values) / Math.sqrt(values.length);
}

/** What `bootstrapError` resamples, and how often. */
export interface BootstrapOptions<T> {
  readonly seed: number;
  /** Resamples drawn (default 1000; lm-evaluation-harness draws 100000 for means, 100 for BLEU). */
  readonly resamples?: number;
  readonly statistic: (sample: readonly T[]) => number;
}

/** The bootstrap standard error of any statistic. The same seed gives the same number. */
export function bootstrapError<T>(values: readonly T[], { seed, resamples = 1000, statistic }: BootstrapOptions<T>): number {
  const random = seededRandom(seed);
  const draw = () => values.map(() => values[random.integer(values.length)]!);
  return sampleDeviation(Array.from({ length: resamples }, () => statistic(draw())));
}

/** The bootstrap standard error of the mean of `values`. */
export function bootstrapStandardError(
  values: readonly number[],
  { seed, resamples = 1000 }: { seed: number; resamples?: number },
): number {
  return bootstrapError(values, { seed, resamples, statistic: mean });
}
