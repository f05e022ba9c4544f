/** @file A comparison as lines: learning curves, or scores by what was swept. report/curves.ts draws it. */

export interface Point {
  readonly x: number;
  readonly y: number;
  /** Standard error. */
  readonly error?: number;
}
export interface Series {
  readonly name: string;
  readonly points: readonly Point[];
  /** Drawn dashed, in the color of the series before: validation beside training. */
  readonly dashed?: boolean;
  /** Which color it has, as `hueOf` counts them: an expert's or a method's. By its place in the chart when absent. */
  readonly color?: number;
}
export interface Chart {
  readonly title: string;
  readonly x: string;
  readonly y: string;
  /** Logarithmic in y; values of 0 or less are left out. */
  readonly logarithmic?: boolean;
  /** Shares in 0..1, shown in per cent. */
  readonly percent?: boolean;
  readonly series: readonly Series[];
}
