/** @file A trace as a separate page. */

import type { Trace } from "../scoring/trace.ts";
import { traceFigure } from "./heatmap.ts";
import { escaped } from "./html.ts";
import { page } from "./page.ts";

/** The whole page: prompt, answer, and the map of tokens and experts. */
export function tracePage(trace: Trace): string {
  const lead = `<p><b>Prompt</b> ${escaped(trace.prompt)}<br><b>Answer</b> ${escaped(trace.completion)}</p>`;
  const about = "Color: the expert with the largest weight. Strength: that weight. Tap a token or a cell to read it.";
  return page({ title: "The experts of each token", lead, sections: [{ title: "Tokens and modules", about, body: traceFigure(trace) }] });
}
