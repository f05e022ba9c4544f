/** @file The look of every page: the playground (web/) and the reports of eval, trace, demo and MoA. Colors, fonts, panels, and experts' marks.
 *
 *  Experts have the colors of Okabe and Ito (2008), which color-blind people can tell apart, and a line pattern besides: 32 marks differ. */

const LIGHT = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#a59b00", "#7f8791"] as const;
const DARK = ["#4aa8e0", "#f0b83d", "#2fc79a", "#e09ac2", "#f08a4b", "#8fd0f7", "#e0d74f", "#a7afb9"] as const;
export const COLORS = { light: LIGHT, dark: DARK } as const;

/** Solid, diagonal lines, dots, horizontal lines: as fills, and as the style of a token's underline. */
const NUM_PATTERNS = 4;

/** An expert's mark: the index of its color, and of its pattern. */
export function markOf(expert: number): { readonly color: number; readonly pattern: number } {
  const round = Math.floor(expert / LIGHT.length);
  return { color: expert % LIGHT.length, pattern: (expert + round) % NUM_PATTERNS };
}

/** The classes of an expert's mark: its color and its pattern, as custom properties of CSS. Lines of charts show the round by their dashes. */
export function markClass(expert: number): string {
  const { color, pattern } = markOf(expert);
  const round = Math.floor(expert / LIGHT.length);
  return `k${color} p${pattern}${round > 0 ? ` r${Math.min(round, 2)}` : ""}`;
}

const variables = (colors: readonly string[]) => colors.map((color, i) => `--e${i}:${color}`).join(";");

/** The colors as classes, for drawings that stand outside of pages. */
export const LIGHT_CLASSES = LIGHT.map((color, i) => `.k${i}{--c:${color}}`).join("");
const CLASSES = LIGHT.map((_, i) => `.k${i}{--c:var(--e${i})}`).join("");

/** Rules that all pages share. */
export const LOOK = `
:root{color-scheme:light dark;--ground:#fff;--ink:#1c1f24;--soft:#545d69;--line:#dfe3e8;--panel:#f6f7f9;--best:#0b6e4f;--bar:#b9d6f2;--link:#0b5cad;--alarm:#a32a00;
--most:52%;${variables(LIGHT)};font:16px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif;-webkit-text-size-adjust:100%}
@media(prefers-color-scheme:dark){:root:not([data-theme=light]){--ground:#14171b;--ink:#e8eaed;--soft:#a3acb8;--line:#2c323a;--panel:#1c2026;--best:#5fd3a8;--bar:#24496e;--link:#7cb8f2;--alarm:#ff9a70;--most:36%;${variables(DARK)}}}
:root[data-theme=dark]{color-scheme:dark;--ground:#14171b;--ink:#e8eaed;--soft:#a3acb8;--line:#2c323a;--panel:#1c2026;--best:#5fd3a8;--bar:#24496e;--link:#7cb8f2;--alarm:#ff9a70;--most:36%;${variables(DARK)}}
:root[data-theme=light]{color-scheme:light}
*{box-sizing:border-box}
body{margin:0 auto;background:var(--ground);color:var(--ink)}
h1{font-size:1.5rem;line-height:1.2;margin:.5rem 0}h2{font-size:1.15rem;margin:0 0 .25rem}h3{font-size:.95rem;margin:1.25rem 0 .25rem}
.about,.facts,footer,figcaption,.note{color:var(--soft);font-size:.875rem;margin:.1rem 0 .7rem}
.scroll{overflow-x:auto;max-width:100%;-webkit-overflow-scrolling:touch}
table{border-collapse:collapse;font-size:.875rem;font-variant-numeric:tabular-nums}
${CLASSES}
.p0{--f:linear-gradient(transparent,transparent)}.p1{--f:repeating-linear-gradient(45deg,var(--ground) 0 1px,transparent 1px 5px)}
.p2{--f:radial-gradient(var(--ground) 1px,transparent 1.3px) 0 0/5px 5px}.p3{--f:repeating-linear-gradient(0deg,var(--ground) 0 1px,transparent 1px 4px)}
.fill{background:var(--f),var(--c)}
.expert{background:color-mix(in srgb,var(--c) calc(var(--w,1)*var(--most)),transparent);border-bottom:3px solid var(--c);border-radius:3px 3px 0 0;padding:0 .2em;white-space:pre-wrap;color:var(--ink)}
.expert.p1{border-bottom-style:dashed}.expert.p2{border-bottom-style:dotted}.expert.p3{border-bottom-style:double}
.series{fill:none;stroke-width:1.6;stroke-linejoin:round;stroke:var(--c)}.r1 .series{stroke-dasharray:1.5 3;stroke-linecap:round}.r2 .series{stroke-dasharray:7 2 1.5 2}.series.dashed{stroke-dasharray:5 3}
svg circle{fill:var(--c)}svg .whisker{stroke:var(--c);stroke-width:1}svg .axis{stroke:var(--line)}
.legend{font-size:.8rem;line-height:1.9;margin:.4rem 0}.legend .expert{margin-right:.3em;display:inline-block;line-height:1.5}
`;
