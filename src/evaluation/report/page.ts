/** @file The page of a report: one file without external requests, light and dark, readable on a phone.
 *
 *  Texts that appear on hovering also appear on touch: a tap on an element with `data-tip` shows its text at the bottom. */

import { escaped } from "./html.ts";
import { LOOK } from "./look.ts";

export interface Section {
  readonly title: string;
  /** A sentence or two on how to read it. */
  readonly about?: string;
  /** HTML. */
  readonly body: string;
  /** Closed at first. */
  readonly folded?: boolean;
}
export interface Page {
  readonly title: string;
  /** HTML below the title. */
  readonly lead?: string;
  readonly sections: readonly Section[];
  readonly footer?: string;
}

/** The whole document. */
export function page({ title, lead = "", sections, footer = "" }: Page): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title><style>${LOOK}${STYLE}</style></head>
<body>
<header><h1>${escaped(title)}</h1>${lead}</header>
<main>
${sections.map(sectionHtml).join("\n")}
</main>
<footer>${escaped(footer)}</footer>
<p id="tip" role="status"></p>
<script>${SCRIPT}</script>
</body></html>
`;
}

function sectionHtml({ title, about, body, folded }: Section): string {
  const text = `${about ? `<p class="about">${escaped(about)}</p>` : ""}\n${body}`;
  if (folded) return `<details><summary>${escaped(title)}</summary>${text}</details>`;
  return `<section><h2>${escaped(title)}</h2>${text}</section>`;
}

const STYLE = `
body{max-width:66rem;padding:1rem 1rem 3.5rem}
section,details{margin:1.25rem 0;padding:1rem;background:var(--panel);border:1px solid var(--line);border-radius:10px}
summary{font-weight:600;font-size:1.15rem;cursor:pointer}section details,details details{padding:0;border:0}section summary,details details summary{font-size:.95rem}
.facts code{overflow-wrap:anywhere}
.lead{padding-left:1.2rem;margin:.6rem 0}
table.grid{width:100%}
.grid th,.grid td{padding:.3rem .55rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
.grid thead th{vertical-align:bottom;font-weight:600;white-space:normal;min-width:4.2rem;color:var(--soft)}
.grid tbody th,.grid thead th:first-child{text-align:left;font-weight:500;position:sticky;left:0;background:var(--panel);max-width:44vw;white-space:normal;z-index:1}
.grid .group th{color:var(--soft);font-weight:600;font-size:.8rem;padding-top:.9rem;text-transform:uppercase;letter-spacing:.04em}
.grid td.best b{color:var(--best)}.grid td b{font-weight:500}.grid td.best b{font-weight:750}
.grid small{color:var(--soft);display:inline-block;min-width:2.6rem;text-align:left;font-size:.75rem}.grid:not(:has(td small:not(:empty))) td small{display:none}
.grid th small{display:block;font-weight:400}.grid td.share{background:linear-gradient(90deg,var(--bar) var(--v),transparent 0) no-repeat 0 90%/100% 3px}
.told th{font-style:italic}
.tokens{line-height:2;margin:.3rem 0 .6rem;overflow-wrap:anywhere}
.map table{border-collapse:separate;border-spacing:1px;font-size:.75rem}
.map th{font-weight:400}.map .layer{max-width:0;overflow:hidden;font-weight:600;text-align:left;padding:0 .2rem;white-space:nowrap;border-left:2px solid var(--line);color:var(--soft)}
.map .module{vertical-align:bottom;padding:.1rem 0}.map .module span{writing-mode:vertical-rl;transform:rotate(180deg);white-space:nowrap;font-size:.68rem;color:var(--soft)}
.map tbody th{position:sticky;left:0;background:var(--panel);text-align:right;padding:0 .4rem;white-space:pre;max-width:8rem;overflow:hidden;text-overflow:ellipsis}
.map td{min-width:.95rem;height:1.15rem;padding:0;background:var(--f),color-mix(in srgb,var(--c) calc(12% + 88%*var(--w,0)),transparent);border-radius:2px;cursor:pointer}
.map td.none{background:none;cursor:auto}.map .first{border-left:2px solid var(--line)}
.use th,.use td{padding:.25rem .3rem}.use thead th{min-width:0;text-align:center;height:1px}.use thead span{writing-mode:vertical-rl;transform:rotate(180deg);white-space:nowrap;max-height:8rem}
.use tbody th{white-space:nowrap}.use td{text-align:center;min-width:2.1rem;background:color-mix(in srgb,var(--c,transparent) calc(var(--w,0)*var(--most)),transparent);cursor:pointer;border-bottom:1px solid var(--panel)}
svg{display:block;width:100%;max-width:44rem;height:auto}svg text{font:11px system-ui,sans-serif;fill:var(--soft)}
figure{margin:.6rem 0}
#tip{position:fixed;left:0;right:0;bottom:0;margin:0;padding:.6rem 1rem;background:var(--ink);color:var(--ground);font-size:.9rem;text-align:center}
#tip:empty{display:none}
@media(max-width:40rem){body{padding:.6rem .6rem 3.5rem}section,details{padding:.75rem .65rem;border-radius:8px}.grid th,.grid td{padding:.3rem .4rem}h1{font-size:1.3rem}}
`;

const SCRIPT = `
document.addEventListener("click",e=>{const t=e.target.closest("[data-tip]");document.getElementById("tip").textContent=t?t.dataset.tip:""});
document.addEventListener("mouseover",e=>{const t=e.target.closest("[data-tip]");if(t&&!t.title)t.title=t.dataset.tip});
`;
