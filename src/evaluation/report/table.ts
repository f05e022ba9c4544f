/** @file A grid of results as an HTML table: a bar under each share, the best in bold, groups as headings. */

import { type Cell, errorText, type Grid, type GridLine, valueText } from "../comparison/grids.ts";
import { escaped } from "./html.ts";

/** `grouped`: a line's note is its group and becomes a heading. Otherwise a dagger marks the note. */
export function gridTable({ corner, columns, lines }: Grid, { grouped = false }: { grouped?: boolean } = {}): string {
  const head = [corner, ...columns].map((column) => `<th scope="col">${escaped(column)}</th>`).join("");
  const rows = lines.map((line, i) => {
    const isNewGroup = grouped && line.note !== undefined && line.note !== lines[i - 1]?.note;
    const heading = isNewGroup
      ? `<tr class="group"><th scope="rowgroup" colspan="${columns.length + 1}">${escaped(line.note!)}</th></tr>`
      : "";
    return heading + rowHtml(line, grouped);
  });
  return `<div class="scroll"><table class="grid"><thead><tr>${head}</tr></thead><tbody>\n${rows.join("\n")}\n</tbody></table></div>`;
}

function rowHtml({ name, note, detail, cells }: GridLine, grouped: boolean): string {
  const remark = note && !grouped ? ` <sup data-tip="${escaped(`${name}: ${note}`)}">†</sup>` : "";
  return `<tr${remark ? ' class="told"' : ""}><th scope="row">${escaped(name)}${remark}${detail ? `<small>${escaped(detail)}</small>` : ""}</th>${cells.map(cellHtml).join("")}</tr>`;
}

function cellHtml(cell: Cell): string {
  const classes = [cell.isShare ? "share" : "", cell.best ? "best" : ""].filter(Boolean).join(" ");
  const bar = cell.isShare ? ` style="--v:${(100 * Math.min(1, Math.max(0, cell.value))).toFixed(1)}%"` : "";
  return `<td${classes ? ` class="${classes}"` : ""}${bar}><b>${valueText(cell)}</b> <small>${errorText(cell)}</small></td>`;
}
