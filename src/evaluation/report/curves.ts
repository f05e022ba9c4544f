/** @file Line charts as inline SVG: learning curves, and sweeps over k or the size of a pool. */

import type { Chart, Point, Series } from "../comparison/chart.ts";
import { escaped } from "./html.ts";
import { markClass } from "./look.ts";

const [WIDTH, HEIGHT] = [640, 260];
const FRAME = { left: 46, right: 12, top: 20, bottom: 34 };
const MOST_POINTS = 60; // more is noise at this size
const MOST_OWN_TICKS = 12;
const TICK_WIDTH = 24; // width of a number, in pixels

/** A chart's drawing, and the mark of each series. */
export interface Drawing {
  readonly width: number;
  readonly height: number;
  /** The elements inside an svg element. */
  readonly body: string;
  /** Solid series in their order. */
  readonly names: readonly { readonly name: string; readonly mark: string }[];
  readonly hasDashed: boolean;
}

/** One chart with its legend; empty without points. */
export function chartFigure(chart: Chart): string {
  const drawing = chartDrawing(chart);
  if (!drawing) return "";
  const { title, x, y } = chart;
  const solid = drawing.names.map(({ name, mark }) => `<span class="expert ${mark}">${escaped(name)}</span>`);
  return `<figure><h3>${escaped(title)}</h3>
<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escaped(`${title}: ${y} by ${x}`)}">
${drawing.body}
</svg>
<figcaption class="legend">${solid.join(" ")}${drawing.hasDashed ? " dashed: validation" : ""}</figcaption></figure>`;
}

/** Axes and lines; undefined without points. */
export function chartDrawing({
  x,
  y,
  logarithmic = false,
  logarithmicX = false,
  percent = false,
  series: given,
}: Chart): Drawing | undefined {
  const isShown = (point: Point) => Number.isFinite(point.x) && Number.isFinite(point.y) && (!logarithmic || point.y > 0);
  const series = given.map((one) => ({ ...one, points: one.points.filter(isShown) }));
  const points = series.flatMap((one) => one.points);
  if (points.length === 0) return undefined;
  const xs = withTicksAt(
    points.map((point) => point.x),
    [FRAME.left, WIDTH - FRAME.right],
    logarithmicX ? logScale : scale,
  );
  const range: [number, number] = [HEIGHT - FRAME.bottom, FRAME.top];
  const ends = points.flatMap((point) => [point.y - (point.error ?? 0), point.y + (point.error ?? 0)]);
  const ys = logarithmic
    ? logScale(
        points.map((point) => point.y),
        range,
      )
    : scale(ends, range);
  const marks = marksOf(series);
  const textOf = percent ? (value: number) => `${tickText(100 * value)} %` : tickText;
  const lines = series.map((one, i) => lineHtml(one, marks[i]!, { x: xs.at, y: ys.at, textOf }));
  const names = series.flatMap(({ name, dashed }, i) => (dashed ? [] : [{ name, mark: marks[i]! }]));
  const body = `${axes(xs, ys, { x, y, textOf })}\n${lines.join("\n")}`;
  return { width: WIDTH, height: HEIGHT, body, names, hasDashed: series.some(({ dashed }) => dashed) };
}

interface Scale {
  readonly at: (value: number) => number;
  readonly ticks: readonly number[];
}

/** Maps values to pixels, with about five round ticks. */
function scale(values: readonly number[], [from, to]: readonly [number, number]): Scale {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const span = high - low || Math.abs(high) || 1;
  const step = [1, 2, 5, 10].map((factor) => factor * 10 ** Math.floor(Math.log10(span / 5))).find((size) => span / size <= 5.5)!;
  const start = Math.floor(low / step) * step;
  const end = Math.max(Math.ceil(high / step) * step, start + step);
  const ticks = Array.from({ length: Math.round((end - start) / step) + 1 }, (_, i) => start + i * step);
  return { at: (value) => from + ((value - start) / (end - start)) * (to - from), ticks };
}

/** Likewise, with a tick at each value if there are few, such as the settings of a sweep. */
function withTicksAt(values: readonly number[], range: readonly [number, number], scaleOf: typeof scale): Scale {
  const even = scaleOf(values, range);
  const own = [...new Set(values)].sort((a, b) => a - b);
  if (own.length > MOST_OWN_TICKS) return even;
  const ticks: number[] = [];
  for (const value of own) {
    if (ticks.length === 0 || even.at(value) - even.at(ticks.at(-1)!) >= TICK_WIDTH) ticks.push(value);
  }
  return { ...even, ticks };
}

/** Likewise with a logarithm; ticks are at powers of ten and, if those are few, at 2 and 5 times them. */
function logScale(values: readonly number[], [from, to]: readonly [number, number]): Scale {
  const [low, high] = [Math.log10(Math.min(...values)), Math.log10(Math.max(...values))];
  const decades = Array.from({ length: Math.ceil(high) - Math.floor(low) + 1 }, (_, i) => 10 ** (Math.floor(low) + i));
  const all = decades.length > 3 ? decades : decades.flatMap((decade) => [decade, 2 * decade, 5 * decade]);
  const margin = (high - low) * 0.03 || 0.5;
  const [start, end] = [low - margin, high + margin];
  const ticks = all.filter((tick) => Math.log10(tick) >= start && Math.log10(tick) <= end);
  return { at: (value) => from + ((Math.log10(value) - start) / (end - start)) * (to - from), ticks };
}

function axes(xs: Scale, ys: Scale, { x, y, textOf }: { x: string; y: string; textOf: (value: number) => string }): string {
  const rows = ys.ticks.map((tick) => {
    const at = ys.at(tick).toFixed(1);
    return `<line class="axis" x1="${FRAME.left}" x2="${WIDTH - FRAME.right}" y1="${at}" y2="${at}"/><text x="${FRAME.left - 5}" y="${at}" dy=".35em" text-anchor="end">${textOf(tick)}</text>`;
  });
  const columns = xs.ticks.map(
    (tick) => `<text x="${xs.at(tick).toFixed(1)}" y="${HEIGHT - FRAME.bottom + 15}" text-anchor="middle">${tickText(tick)}</text>`,
  );
  const names = `<text x="${WIDTH - FRAME.right}" y="${HEIGHT - 4}" text-anchor="end">${escaped(x)}</text><text x="4" y="11">${escaped(y)}</text>`;
  return [...rows, ...columns, names].join("\n");
}

const tickText = (value: number) => Number(value.toPrecision(6)).toString();

/** Classes: a dashed series has the mark of the series before it. */
function marksOf(series: readonly Series[]): string[] {
  let solid = -1;
  return series.map(({ dashed, color }) => {
    if (!dashed) solid++;
    return markClass(color ?? Math.max(0, solid));
  });
}

interface Pen {
  readonly x: Scale["at"];
  readonly y: Scale["at"];
  /** A value in y as text. */
  readonly textOf: (value: number) => string;
}

function lineHtml({ name, points, dashed }: Series, mark: string, { x, y, textOf }: Pen): string {
  const kept = thinned(points);
  const at = kept.map((point) => `${x(point.x).toFixed(1)},${y(point.y).toFixed(1)}`);
  const few = points.length <= 12;
  const marks = few
    ? kept.map((point) => {
        const [cx, cy] = [x(point.x).toFixed(1), y(point.y).toFixed(1)];
        const { error = 0 } = point;
        const whisker = `<line class="whisker" x1="${cx}" x2="${cx}" y1="${y(point.y - error).toFixed(1)}" y2="${y(point.y + error).toFixed(1)}"/>`;
        return `${error > 0 ? whisker : ""}<circle cx="${cx}" cy="${cy}" r="3" data-tip="${escaped(`${name}: ${textOf(Number(point.y.toPrecision(4)))} at ${point.x}`)}"/>`;
      })
    : [];
  return `<g class="${mark}"><polyline class="series${dashed ? " dashed" : ""}" points="${at.join(" ")}"/>${marks.join("")}</g>`;
}

/** At most MOST_POINTS points, each the mean of adjacent ones. */
function thinned(points: readonly Point[]): Point[] {
  const size = Math.ceil(points.length / MOST_POINTS);
  if (size <= 1) return [...points];
  return Array.from({ length: Math.ceil(points.length / size) }, (_, i) => {
    const part = points.slice(i * size, (i + 1) * size);
    const mean = (of: (point: Point) => number) => part.reduce((sum, point) => sum + of(point), 0) / part.length;
    return { x: mean((point) => point.x), y: mean((point) => point.y) };
  });
}
