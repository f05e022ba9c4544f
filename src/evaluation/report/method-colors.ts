/** @file One color for each method, in every chart of every page and file. */

import type { Chart } from "../comparison/chart.ts";

/** Colors go by the place in this list: what is compared most comes first, where hues are furthest apart, and from the ninth on, where
 *  each is near an earlier one, what its line is not mistaken for. */
const KNOWN = [
  "phatgoose",
  "average-activation",
  "arrow",
  "spectr",
  "smear",
  "retrieval",
  "merged",
  "lorahub",
  "uniform",
  "oracle",
  "best individual",
  "base",
  "arrow-peft",
  "multitask",
];

/** Charts whose series are methods. One with options, or of a name of its own, has a color behind those of the list, the same in all
 *  of `charts`. */
export function inMethodColors(charts: readonly Chart[]): Chart[] {
  const names = [...new Set([...KNOWN, ...charts.flatMap(({ series }) => series.map(({ name }) => name))])];
  return charts.map((chart) => ({ ...chart, series: chart.series.map((one) => ({ ...one, color: names.indexOf(one.name) })) }));
}
