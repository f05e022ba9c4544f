/** @file Draws a map of tokens x modules on a canvas: only the cells in sight, so that 500 tokens x 200 modules stay smooth. */

import { markOf } from "../../src/evaluation/report/look.ts";
import { bitmapOf } from "./heat-bitmap.ts";
import { colorsNow } from "./marks.ts";

/** One cell: an expert's mark with a strength, or a value alone. */
export interface Cell {
  readonly expert?: number | undefined;
  /** 0 to 1. */
  readonly value: number;
}
export interface Spot {
  readonly row: number | undefined;
  readonly column: number | undefined;
}

export interface MapData {
  readonly rows: readonly string[];
  readonly columns: readonly { readonly layer: string; readonly name: string }[];
  /** Undefined where a module did not route the token. */
  readonly cell: (row: number, column: number) => Cell | undefined;
  /** Letters of experts, for large cells. */
  readonly letters: readonly string[];
}

export interface Frame {
  /** Of what is in sight, in CSS pixels. */
  readonly width: number;
  readonly height: number;
  readonly left: number;
  readonly top: number;
  readonly size: number;
  readonly locked: Spot;
  readonly pointed: Spot;
}

/** Cells of so many pixels and more show patterns. */
const PATTERNED = 9;
export const LABEL = 104;
export const HEAD = 92;

export function fullSize({ rows, columns }: MapData, size: number): { width: number; height: number } {
  return { width: LABEL + columns.length * size, height: HEAD + rows.length * size };
}

/** The cell at a point of what is in sight. In the head there is no row, among the labels no column. */
export function spotAt({ rows, columns }: MapData, { left, top, size }: Frame, x: number, y: number): Spot {
  const within = (index: number, count: number) => (index >= 0 && index < count ? index : undefined);
  return {
    row: y < HEAD ? undefined : within(Math.floor((y - HEAD + top) / size), rows.length),
    column: x < LABEL ? undefined : within(Math.floor((x - LABEL + left) / size), columns.length),
  };
}

export function draw(canvas: HTMLCanvasElement, map: MapData, frame: Frame): void {
  const { width, height, left, top, size, locked, pointed } = frame;
  const ratio = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const pen = canvas.getContext("2d")!;
  const colors = colorsNow();
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  const [firstRow, lastRow] = inSight(top, height - HEAD, size, map.rows.length);
  const [firstColumn, lastColumn] = inSight(left, width - LABEL, size, map.columns.length);

  pen.save();
  pen.beginPath();
  pen.rect(LABEL, HEAD, width - LABEL, height - HEAD);
  pen.clip();
  if (size < PATTERNED) {
    pen.imageSmoothingEnabled = false;
    const picture = bitmapOf(map, colors.experts, colors.ground);
    pen.drawImage(picture, LABEL - left, HEAD - top, map.columns.length * size, map.rows.length * size);
  } else drawCells(pen, map, frame, [firstRow, lastRow], [firstColumn, lastColumn], colors);
  for (const { spot, strength } of [
    { spot: pointed, strength: 0.5 },
    { spot: locked, strength: 1 },
  ]) {
    pen.globalAlpha = strength;
    pen.strokeStyle = colors.ink;
    pen.lineWidth = 1.5;
    if (spot.row !== undefined) pen.strokeRect(LABEL - 2, HEAD + spot.row * size - top - 0.5, width, size);
    if (spot.column !== undefined) pen.strokeRect(LABEL + spot.column * size - left - 0.5, HEAD - 2, size, height);
  }
  pen.restore();
  drawLabels(pen, map, frame, [firstRow, lastRow], colors);
  drawHead(pen, map, frame, [firstColumn, lastColumn], colors);
}

function drawCells(
  pen: CanvasRenderingContext2D,
  map: MapData,
  { left, top, size }: Frame,
  [firstRow, lastRow]: readonly [number, number],
  [firstColumn, lastColumn]: readonly [number, number],
  colors: Colors,
): void {
  const side = size - 1;
  for (let row = firstRow; row <= lastRow; row++) {
    for (let column = firstColumn; column <= lastColumn; column++) {
      const cell = map.cell(row, column);
      if (!cell) continue;
      const [x, y] = [LABEL + column * size - left, HEAD + row * size - top];
      const mark = cell.expert === undefined ? { color: 0, pattern: 0 } : markOf(cell.expert);
      pen.globalAlpha = 0.08 + 0.92 * cell.value;
      pen.fillStyle = colors.experts[mark.color]!;
      pen.fillRect(x, y, side, side);
      pen.globalAlpha = 1;
      if (cell.expert !== undefined) hatch(pen, mark.pattern, x, y, side, colors.ground);
      if (cell.expert !== undefined && size >= 24) letter(pen, map.letters[cell.expert] ?? "", x, y, size, colors);
    }
  }
}

function inSight(start: number, length: number, size: number, count: number): [number, number] {
  return [Math.max(0, Math.floor(start / size)), Math.min(count - 1, Math.floor((start + length) / size))];
}

function hatch(pen: CanvasRenderingContext2D, pattern: number, x: number, y: number, size: number, color: string): void {
  if (pattern === 0) return;
  pen.save();
  pen.beginPath();
  pen.rect(x, y, size, size);
  pen.clip();
  pen.strokeStyle = color;
  pen.fillStyle = color;
  pen.lineWidth = 1;
  pen.globalAlpha = 0.75;
  pen.beginPath();
  if (pattern === 1) {
    for (let at = -size; at < size; at += 5) {
      pen.moveTo(x + at, y + size);
      pen.lineTo(x + at + size, y);
    }
    pen.stroke();
  } else if (pattern === 2) {
    for (let dy = 3; dy < size; dy += 5) for (let dx = 3; dx < size; dx += 5) pen.fillRect(x + dx - 0.75, y + dy - 0.75, 1.5, 1.5);
  } else {
    for (let dy = 3; dy < size; dy += 4) {
      pen.moveTo(x, y + dy);
      pen.lineTo(x + size, y + dy);
    }
    pen.stroke();
  }
  pen.restore();
}

type Colors = ReturnType<typeof colorsNow>;

function letter(pen: CanvasRenderingContext2D, text: string, x: number, y: number, size: number, { ink, ground }: Colors): void {
  pen.font = "600 11px system-ui, sans-serif";
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  const width = pen.measureText(text).width + 4;
  pen.globalAlpha = 0.8;
  pen.fillStyle = ground;
  pen.fillRect(x + size / 2 - width / 2, y + size / 2 - 7, width, 14);
  pen.globalAlpha = 1;
  pen.fillStyle = ink;
  pen.fillText(text, x + size / 2, y + size / 2);
}

function drawLabels(
  pen: CanvasRenderingContext2D,
  { rows }: MapData,
  { top, size, height, locked }: Frame,
  [first, last]: [number, number],
  { ink, soft }: Colors,
): void {
  const every = Math.max(1, Math.ceil(12 / size));
  pen.save();
  pen.beginPath();
  pen.rect(0, HEAD, LABEL - 4, height - HEAD);
  pen.clip();
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  for (let row = first; row <= last; row++) {
    const isLocked = locked.row === row;
    if (!isLocked && (row % every !== 0 || (locked.row !== undefined && Math.abs(locked.row - row) < every))) continue;
    pen.font = `${isLocked ? "700" : "400"} 12px system-ui, sans-serif`;
    pen.fillStyle = isLocked ? ink : soft;
    pen.fillText(rows[row]!, LABEL - 8, HEAD + (row + 0.5) * size - top);
  }
  pen.restore();
}

function drawHead(
  pen: CanvasRenderingContext2D,
  { columns }: MapData,
  { left, size, width, locked }: Frame,
  [first, last]: [number, number],
  { ink, soft, line }: Colors,
): void {
  const every = Math.max(1, Math.ceil(12 / size));
  pen.save();
  pen.beginPath();
  pen.rect(LABEL, 0, width - LABEL, HEAD);
  pen.clip();
  pen.textBaseline = "middle";
  for (let column = first; column <= last; column++) {
    const { layer, name } = columns[column]!;
    const x = LABEL + column * size - left;
    const isLocked = locked.column === column;
    if (layer !== columns[column - 1]?.layer || column === first) {
      pen.font = "600 11px system-ui, sans-serif";
      pen.fillStyle = soft;
      pen.textAlign = "left";
      let end = column;
      while (end + 1 < columns.length && columns[end + 1]!.layer === layer) end++;
      const room = (end - column + 1) * size;
      pen.fillText(pen.measureText(layer).width <= room ? layer : layer.replace(/^\D+/, ""), Math.max(x, LABEL) + 1, 8, room);
      pen.fillStyle = line;
      pen.fillRect(x - 0.5, 0, 1, HEAD);
    }
    if (!isLocked && (column % every !== 0 || (locked.column !== undefined && Math.abs(locked.column - column) < every))) continue;
    pen.save();
    pen.translate(x + size / 2, HEAD - 6);
    pen.rotate(-Math.PI / 2);
    pen.textAlign = "left";
    pen.font = `${isLocked ? "700" : "400"} 11px system-ui, sans-serif`;
    pen.fillStyle = isLocked ? ink : soft;
    pen.fillText(name, 0, 0, HEAD - 24);
    pen.restore();
  }
  pen.restore();
}
