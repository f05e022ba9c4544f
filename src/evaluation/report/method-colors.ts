/** @file One color for each method, in every chart of every page and file. */

import type { Chart } from "../comparison/chart.ts";

/** A method's color is its index in this list. The methods that are compared most often come first, where the hues are farthest apart.
 *  From the ninth on, each hue is near an earlier one; their methods have lines that are easy to distinguish. */
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

/** Colors charts whose series are methods. A method with options or with its own name gets a color after those of the list, the same
 *  in all of `charts`. */
export function inMethodColors(charts: readonly Chart[]): Chart[] {
  const names = [...new Set([...KNOWN, ...charts.flatMap(({ series }) => series.map(({ name }) => name))])];
  return charts.map((chart) => ({ ...chart, series: chart.series.map((one) => ({ ...one, color: names.indexOf(one.name) })) }));
}
