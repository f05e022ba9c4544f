/** @file A drawing of who serves what: tasks by experts, darker for a larger share of the routing weight. */

import { escaped } from "../evaluation/report/html.ts";
import type { PublicSeed } from "./public-study.ts";

const [CELL, LEFT, TOP] = [14, 190, 110];

/** The shares of one seed as SVG. A task's own expert, where it has one, has a frame. */
export function useSvg({ tasks, use, experts }: Pick<PublicSeed, "tasks" | "use" | "experts">): string {
  const names = Object.keys(experts);
  const [width, height] = [LEFT + CELL * names.length + 10, TOP + CELL * tasks.length + 10];
  const most = Math.max(...Object.values(use).flat(), 1e-9);
  const heads = names.map((name, z) => {
    const x = LEFT + CELL * (z + 0.7);
    return `<text x="${x}" y="${TOP - 6}" transform="rotate(-60 ${x} ${TOP - 6})">${escaped(name)}</text>`;
  });
  const rows = tasks.map(({ name }, t) => {
    const y = TOP + CELL * t;
    const cells = names.map((expert, z) => {
      const share = use[name]?.[z] ?? 0;
      const own = name.split("+").includes(expert) ? ' class="own"' : "";
      return `<rect${own} x="${LEFT + CELL * z}" y="${y}" width="${CELL - 2}" height="${CELL - 2}" fill-opacity="${(share / most).toFixed(2)}"><title>${escaped(`${name}: ${expert} ${Math.round(100 * share)} %`)}</title></rect>`;
    });
    return `<text x="${LEFT - 6}" y="${y + CELL - 4}" text-anchor="end">${escaped(name)}</text>${cells.join("")}`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}">
<style>text{font:10px system-ui,sans-serif;fill:#444}rect{fill:hsl(210 75% 35%);stroke:none}.own{stroke:#c33}</style>
<path d="M0 0H${width}V${height}H0Z" fill="#fff"/>
${heads.join("\n")}
${rows.join("\n")}
</svg>
`;
}
