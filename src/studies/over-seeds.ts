/** @file Numbers over the seeds of a study: means, their standard errors, and the verdict on a claim.
 *
 *  A claim "a above b" is judged by the differences for each seed. It holds if their mean is more than two standard errors
 *  above 0, and fails if it is more than two below. Otherwise, or with fewer than three seeds, it is undecided. */

import { counted } from "../base/counted.ts";

export interface Mean {
  readonly value: number;
  /** Standard error of the mean; NaN with one seed. */
  readonly error: number;
}

/** The mean of one number over seeds. */
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

/** A Markdown table with text in the first column and numbers in the others. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(head), `| --- |${" ---: |".repeat(head.length - 1)}`, ...rows.map(line)].join("\n");
}
