/** @file The whole map as a small picture, one pixel for a cell: cells too small for patterns are drawn from it at once, however many. */

import { markOf } from "../../src/evaluation/report/look.ts";
import type { MapData } from "./heat-canvas.ts";

interface Picture {
  readonly theme: string;
  readonly canvas: HTMLCanvasElement;
}
const known = new WeakMap<MapData, Picture>();

/** columns x rows pixels; transparent where there is no cell. `theme`: what the colors depend on. */
export function bitmapOf(map: MapData, colors: readonly string[], theme: string): HTMLCanvasElement {
  const old = known.get(map);
  if (old?.theme === theme) return old.canvas;
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [Math.max(1, map.columns.length), Math.max(1, map.rows.length)];
  const pen = canvas.getContext("2d")!;
  const image = pen.createImageData(canvas.width, canvas.height);
  const parts = colors.map((color) => [1, 3, 5].map((at) => Number.parseInt(color.slice(at, at + 2), 16)));
  for (let row = 0; row < map.rows.length; row++) {
    for (let column = 0; column < map.columns.length; column++) {
      const cell = map.cell(row, column);
      if (!cell) continue;
      const [red, green, blue] = parts[cell.expert === undefined ? 0 : markOf(cell.expert).color]!;
      image.data.set([red!, green!, blue!, Math.round(255 * (0.08 + 0.92 * cell.value))], 4 * (row * canvas.width + column));
    }
  }
  pen.putImageData(image, 0, 0);
  known.set(map, { theme, canvas });
  return canvas;
}
