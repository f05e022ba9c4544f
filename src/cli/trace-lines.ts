/** @file A trace in a terminal: one line a token, one block a module, each in the colour of the expert with the most weight there.
 *
 *      input
 *      goose   young 0.61   ▮▮▮▮▮▮▮ ▮▮▮▮▮▮▮      blocks in groups, a layer each
 *
 *  Without colours the blocks are left out; the name and weight, its mean over the modules, stay. */

import { byLayer } from "../evaluation/report/modules.ts";
import { expertsOfTokens, type Trace, type TracedTokens } from "../evaluation/trace.ts";
import { coloured, legend } from "./expert-colours.ts";

/** The lines of all parts of a trace. */
export function traceLines(trace: Trace, { colours }: { readonly colours: boolean }): string {
  const { experts, parts } = trace;
  const lines = parts.flatMap((part) => [part.name, ...partLines(part, experts, colours)]);
  return [...(colours ? [legend(experts)] : []), ...lines].join("\n");
}

function partLines(part: TracedTokens, names: readonly string[], colours: boolean): string[] {
  const tokens = part.tokens.map((token) => token.replaceAll("\n", "⏎"));
  const owners = expertsOfTokens(part);
  const facts = owners.map((owner, token) => `${names[owner] ?? owner} ${weightOf(part, token, owner).toFixed(2)}`);
  const width = (texts: readonly string[]) => Math.max(0, ...texts.map(({ length }) => length));
  const [tokenWidth, factWidth] = [width(tokens), width(facts)];
  return tokens.map((token, i) => {
    const [name, fact] = [token.padEnd(tokenWidth), facts[i]!];
    if (!colours) return `${name}  ${fact}`;
    return `${coloured(name, owners[i]!)}  ${fact.padEnd(factWidth)}  ${blocks(part, i)}`;
  });
}

/** A block for each module, by layer. */
function blocks({ modules }: TracedTokens, token: number): string {
  const best = new Map(modules.map(({ module, experts }) => [module, experts[token]?.[0] ?? 0]));
  const groups = byLayer([...best.keys()]).map(({ modules: own }) => own.map((module) => coloured("▮", best.get(module)!)).join(""));
  return groups.join(" ");
}

/** The expert's mean weight on a token, over the modules. */
function weightOf({ modules }: TracedTokens, token: number, expert: number): number {
  const weights = modules.map(({ experts, weights: own }) => own[token]?.[experts[token]?.indexOf(expert) ?? -1] ?? 0);
  return weights.reduce((sum, weight) => sum + weight, 0) / Math.max(1, weights.length);
}
