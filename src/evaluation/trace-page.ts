/** @file A trace as a page of its own: the text with each token in its expert's colour, and a heat map token x module.
 *
 *  Self-contained (no network, no fonts), light and dark, readable on a phone: the map scrolls sideways under fixed token names,
 *  and touching a cell says which experts served the token there. */

import { expertsOfTokens, type Trace, type TracedTokens } from "./trace.ts";

/** The whole page. */
export function tracePage(trace: Trace): string {
  const title = `Who served which token: ${trace.prompt}`;
  const body = [
    "<h1>Who served which token</h1>",
    traceFigure(trace),
    "<footer>Colour: the expert with the largest weight. Strength: that weight.</footer>",
  ].join("\n");
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title><style>${TRACE_STYLE}</style></head>
<body>
${body}
<script>${TRACE_SCRIPT}</script>
</body></html>
`;
}

/** Text and heat maps without the page around them; needs TRACE_STYLE and, for touch, TRACE_SCRIPT. */
export function traceFigure({ experts, parts }: Trace): string {
  const legend = experts.map((name, expert) => `<span class="expert" style="--h:${hue(expert)}">${escaped(name)}</span>`).join(" ");
  const figures = parts.map((part) => {
    const heading = part.name === "text" ? "" : `<h2>${part.name === "input" ? "Input" : "Output"}</h2>`;
    return `${heading}\n<p class="tokens">${colouredTokens(part)}</p>\n${heatMap(part, experts)}`;
  });
  return `<p class="legend">${legend}</p>\n${figures.join("\n")}\n<p class="told" role="status"></p>`;
}

function colouredTokens(part: TracedTokens): string {
  const owners = expertsOfTokens(part);
  return part.tokens.map((token, i) => `<span class="expert" style="--h:${hue(owners[i]!)}">${visible(token)}</span>`).join("");
}

function heatMap({ tokens, modules }: TracedTokens, experts: readonly string[]): string {
  const head = modules.map(({ module }) => `<th scope="col"><span>${escaped(module)}</span></th>`).join("");
  const rows = tokens.map((token, i) => {
    const cells = modules.map(({ module, experts: chosen, weights }) => {
      const best = chosen[i]?.[0];
      if (best === undefined) return "<td></td>";
      const told = chosen[i]!.map((expert, j) => `${experts[expert]} ${(weights[i]![j]! * 100).toFixed(0)} %`).join(", ");
      const style = `--h:${hue(best)};--w:${weights[i]![0]!.toFixed(2)}`;
      return `<td style="${style}" title="${escaped(`${token.trim()} at ${module}: ${told}`)}"></td>`;
    });
    return `<tr><th scope="row">${visible(token)}</th>${cells.join("")}</tr>`;
  });
  return `<div class="map"><table><thead><tr><th></th>${head}</tr></thead><tbody>\n${rows.join("\n")}\n</tbody></table></div>`;
}

// The golden angle keeps neighbours apart, however many experts there are.
const hue = (expert: number) => Math.round((expert * 137.508 + 210) % 360);

function visible(token: string): string {
  return escaped(token.replaceAll("\n", "⏎")) || "∅";
}

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}

export const TRACE_STYLE = `
:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}
body{max-width:72rem;margin:auto;padding:1rem}
h1{font-size:1.3rem}h2{font-size:1.05rem;margin-bottom:0}
.expert{background:hsl(var(--h) 70% 50% / .3);border-bottom:2px solid hsl(var(--h) 70% 45%);border-radius:3px;padding:0 .15em;white-space:pre-wrap}
.legend .expert{margin-right:.3em}
.tokens{line-height:2}
.map{overflow-x:auto;max-width:100%}
.map table{border-collapse:separate;border-spacing:1px;font-size:.75rem}
.map thead th{vertical-align:bottom;padding:0;font-weight:400;font-size:.65rem}
.map thead span{writing-mode:vertical-rl;transform:rotate(180deg);white-space:nowrap}
.map tbody th{position:sticky;left:0;background:Canvas;text-align:right;font-weight:400;padding:0 .4rem;white-space:pre}
.map td{min-width:1rem;height:1.1rem;background:hsl(var(--h,0) 70% 50% / calc(.1 + .9 * var(--w,0)))}
.told{position:sticky;bottom:0;background:Canvas;min-height:1.5em;margin:0}
`;
export const TRACE_SCRIPT = `
document.addEventListener("click",e=>{const t=e.target.closest(".map td[title]");if(t)for(const p of document.querySelectorAll(".told"))p.textContent=t.title});
`;
