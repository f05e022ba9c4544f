/** @file A trace as a figure: the text with each token in its expert's color, and a map of tokens x modules, grouped by layer.
 *
 *  The color shows the expert with the largest weight, its strength shows the weight. Tapping or hovering shows all weights. */

import { expertsOfTokens, type ModuleTrace, type Trace, type TracedTokens } from "../scoring/trace.ts";
import { escaped, legend, visible } from "./html.ts";
import { markClass } from "./look.ts";
import { byLayer, shortName } from "./modules.ts";

/** Legend, text and map of every part of the trace. */
export function traceFigure({ experts, parts }: Trace): string {
  const figures = parts.map((part) => {
    const heading = part.name === "text" ? "" : `<h3>${part.name === "input" ? "Input" : "Output"}</h3>`;
    return `${heading}\n<p class="tokens">${coloredTokens(part, experts)}</p>\n${heatMap(part, experts)}`;
  });
  return `${legend(experts)}\n${figures.join("\n")}`;
}

function coloredTokens(part: TracedTokens, experts: readonly string[]): string {
  const owners = expertsOfTokens(part);
  return part.tokens
    .map((token, i) => {
      const tip = `“${token.trim()}”: mostly ${experts[owners[i]!] ?? ""}`;
      return `<span class="expert ${markClass(owners[i]!)}" data-tip="${escaped(tip)}">${visible(token)}</span>`;
    })
    .join("");
}

function heatMap({ tokens, modules }: TracedTokens, experts: readonly string[]): string {
  // Modules are in the order in which they run, layer by layer.
  const groups = byLayer([...modules].map(({ module }) => module));
  const of = new Map(modules.map((one) => [one.module, one]));
  const layers = groups.map(
    ({ layer, modules: own }) =>
      `<th class="layer" scope="colgroup" colspan="${own.length}" data-tip="${escaped(layer)}">${escaped(fitting(layer, own.length))}</th>`,
  );
  const names = groups.flatMap(({ modules: own }) =>
    own.map((module, i) => `<th class="module${i === 0 ? " first" : ""}" scope="col"><span>${escaped(shortName(module))}</span></th>`),
  );
  const rows = tokens.map((token, t) => {
    const cells = groups.flatMap(({ modules: own }) => own.map((module) => cellHtml(of.get(module)!, t, token, experts)));
    return `<tr><th scope="row">${visible(token)}</th>${cells.join("")}</tr>`;
  });
  return `<div class="scroll map"><table><thead><tr><th></th>${layers.join("")}</tr><tr><th></th>${names.join("")}</tr></thead><tbody>
${rows.join("\n")}
</tbody></table></div>`;
}

/** A layer's name as it fits above so many columns: "decoder 0", "d 0", "0". */
function fitting(layer: string, columns: number): string {
  if (columns >= 4) return layer;
  return columns === 1 ? layer.replace(/^\D+(?=\d)/, "") : layer.replace(/^(\p{L})\p{L}+/u, "$1");
}

function cellHtml({ module, experts: chosen, weights }: ModuleTrace, token: number, text: string, experts: readonly string[]): string {
  const best = chosen[token]?.[0];
  if (best === undefined) return '<td class="none"></td>';
  const shares = chosen[token]!.map((expert, j) => `${experts[expert] ?? expert} ${Math.round(100 * weights[token]![j]!)} %`);
  const tip = `“${text.trim()}” at ${module}: ${shares.join(", ")}`;
  return `<td class="${markClass(best)}" style="--w:${weights[token]![0]!.toFixed(2)}" data-tip="${escaped(tip)}"></td>`;
}
