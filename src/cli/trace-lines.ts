/** @file A trace in a terminal: one line per token, one block per module, in the color of the expert with the most weight.
 *
 *      input
 *      goose   young 0.61   ▮▮▮▮▮▮▮ ▮▮▮▮▮▮▮      blocks in groups, one per layer
 *
 *  If the modules do not fit beside the token, each block is a layer. Without colors there are no blocks, only the name and
 *  the weight, which is its mean over the modules. */

import { byLayer } from "../evaluation/report/modules.ts";
import { expertsOfTokens, type Trace, type TracedTokens } from "../evaluation/scoring/trace.ts";
import { colored, legend } from "./expert-colors.ts";

/** The lines of all parts of a trace. */
export function traceLines(trace: Trace, { colors, columns }: { readonly colors: boolean; readonly columns: number }): string {
  const { experts, parts } = trace;
  const lines = parts.flatMap((part) => [part.name, ...partLines(part, experts, colors ? columns : undefined)]);
  return [...(colors ? [legend(experts)] : []), ...lines].join("\n");
}

/** `columns`: the maximum width of a line; undefined without colors. */
function partLines(part: TracedTokens, names: readonly string[], columns: number | undefined): string[] {
  const tokens = part.tokens.map((token) => token.replaceAll("\n", "⏎"));
  const owners = expertsOfTokens(part);
  const facts = owners.map((owner, token) => `${names[owner] ?? owner} ${weightOf(part, token, owner).toFixed(2)}`);
  const width = (texts: readonly string[]) => Math.max(0, ...texts.map(({ length }) => length));
  const [tokenWidth, factWidth] = [width(tokens), width(facts)];
  return tokens.map((token, i) => {
    const [name, fact] = [token.padEnd(tokenWidth), facts[i]!];
    if (columns === undefined) return `${name}  ${fact}`;
    return `${colored(name, owners[i]!)}  ${fact.padEnd(factWidth)}  ${blocks(part, i, columns - tokenWidth - factWidth - 4)}`;
  });
}

/** A block for each module, grouped by layer; or a block for each layer, if the modules are wider than `room`. */
function blocks({ modules, ...part }: TracedTokens, token: number, room: number): string {
  const layers = byLayer(modules.map(({ module }) => module)).map(({ modules: own }) =>
    modules.filter(({ module }) => own.includes(module)),
  );
  if (modules.length + layers.length - 1 <= room) {
    return layers.map((own) => own.map(({ experts }) => colored("▮", experts[token]?.[0] ?? 0)).join("")).join(" ");
  }
  return layers.map((own) => colored("▮", expertsOfTokens({ ...part, modules: own })[token]!)).join("");
}

/** The expert's mean weight on a token, over the modules. */
function weightOf({ modules }: TracedTokens, token: number, expert: number): number {
  const weights = modules.map(({ experts, weights: own }) => own[token]?.[experts[token]?.indexOf(expert) ?? -1] ?? 0);
  return weights.reduce((sum, weight) => sum + weight, 0) / Math.max(1, weights.length);
}
