/** @file The data of a line chart: learning curves, or scores of a sweep. report/curves.ts draws it. */

/** One point of a curve. */
export interface Point {
  readonly x: number;
  readonly y: number;
  /** Standard error. */
  readonly error?: number;
}
/** One curve of a chart. */
export interface Series {
  readonly name: string;
  readonly points: readonly Point[];
  /** Drawn dashed, in the color of the previous series: validation after training. */
  readonly dashed?: boolean;
  /** Its color index for `markOf`: an expert's or a method's. Default: its index in the chart. */
  readonly color?: number;
}
/** Curves over one axis: what sweeps give and reports draw. */
export interface Chart {
  readonly title: string;
  readonly x: string;
  readonly y: string;
  /** Logarithmic y axis; values of 0 or less are left out. */
  readonly logarithmic?: boolean;
  /** Logarithmic x axis; every x is above 0. */
  readonly logarithmicX?: boolean;
  /** Shares in 0..1, shown in per cent. */
  readonly percent?: boolean;
  readonly series: readonly Series[];
}
