/** @file Numbers over the seeds of a study: means, their standard errors, and what they say of a claim.
 *
 *  A claim "a above b" is judged by the differences seed by seed: it holds where their mean is more than two standard errors
 *  above 0, fails where it is more than two below, and is undecided between, or with fewer than three seeds. */

import { counted } from "../base/counted.ts";

export interface Mean {
  readonly value: number;
  /** Standard error of the mean; NaN with one seed. */
  readonly error: number;
}

/** The mean over seeds of one number of each. */
export function over<Run>(runs: readonly Run[], of: (run: Run) => number): Mean {
  const values = runs.map(of);
  const value = values.reduce((sum, one) => sum + one, 0) / values.length;
  const variance = values.reduce((sum, one) => sum + (one - value) ** 2, 0) / (values.length - 1);
  return { value, error: Math.sqrt(variance / values.length) };
}

export function verdict({ value, error }: Mean, seeds: number): string {
  if (seeds < 3) return `undecided (${counted(seeds, "seed")})`;
  if (value > 2 * error) return "holds";
  return value < -2 * error ? "does not hold: the reverse" : "undecided";
}

/** `factor` times the mean, ± its standard error, as text. */
export function text({ value, error }: Mean, { factor = 100, digits = 1 }: { factor?: number; digits?: number } = {}): string {
  if (!Number.isFinite(value)) return "";
  const number = (x: number) => (factor * x).toFixed(digits);
  return `${number(value)}${Number.isFinite(error) ? ` ± ${number(error)}` : ""}`;
}

/** A Markdown table whose first column is words and whose others are numbers. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(head), `| --- |${" ---: |".repeat(head.length - 1)}`, ...rows.map(line)].join("\n");
}
