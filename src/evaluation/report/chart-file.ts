/** @file A chart as a separate SVG file, for pages without Skein's style sheet. */

import type { Chart } from "../comparison/chart.ts";
import { chartDrawing } from "./curves.ts";
import { escaped } from "./html.ts";
import { LIGHT_CLASSES } from "./look.ts";

const [COLUMNS, LINE, TITLE] = [4, 18, 24];

const STYLE = `text{font:11px system-ui,sans-serif;fill:#555}.title{font-size:13px;font-weight:600;fill:#222}.axis{stroke:#ddd}
.series{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke:var(--c)}.r1 .series{stroke-dasharray:1.5 3;stroke-linecap:round}.series.dashed{stroke-dasharray:5 3}
circle,.key{fill:var(--c)}.whisker{stroke:var(--c)}${LIGHT_CLASSES}`;

/** The chart with its title above and its legend below; undefined without points. */
export function chartSvg(chart: Chart): string | undefined {
  const drawing = chartDrawing(chart);
  if (!drawing) return undefined;
  const { width, height, body, names } = drawing;
  const legend = names.map(({ name, mark }, i) => {
    const x = 12 + (i % COLUMNS) * ((width - 12) / COLUMNS);
    const y = TITLE + height + LINE * (Math.floor(i / COLUMNS) + 0.6);
    return `<g class="${mark}"><rect class="key" x="${x}" y="${y - 8}" width="10" height="10"/><text x="${x + 15}" y="${y + 1}">${escaped(name)}</text></g>`;
  });
  const whole = TITLE + height + LINE * (Math.ceil(names.length / COLUMNS) + 0.3);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${whole}" width="${width}" height="${whole}">
<style>${STYLE}</style><rect width="100%" height="100%" fill="#fff"/><text class="title" x="4" y="16">${escaped(chart.title)}</text>
<g transform="translate(0 ${TITLE})">
${body}
</g>
${legend.join("\n")}
</svg>
`;
}
