/** @file The expert that served a token most, and a color for each expert in a terminal. */

import type { Routes } from "../generation/routes.ts";

// Of the 256 terminal colors, these can be distinguished on dark and on light backgrounds.
const COLORS = [33, 208, 35, 170, 178, 44, 203, 99, 107, 141];
const STYLES = ["", "4;", "7;"]; // further experts are underlined, then inverse

/** The index of the expert with the most weight over all modules, for a route of one token. */
export function expertOf(route: Routes): number {
  const totals = new Map<number, number>();
  for (const { experts, weights } of route.values()) {
    for (const [i, expert] of experts.data.entries()) totals.set(Number(expert), (totals.get(Number(expert)) ?? 0) + weights.data[i]!);
  }
  return [...totals].reduce((best, entry) => (entry[1] > best[1] ? entry : best), [0, 0] as const)[0];
}

/** `text` in the color of an expert. */
export function colored(text: string, expert: number): string {
  const style = STYLES[Math.floor(expert / COLORS.length) % STYLES.length];
  return `\x1b[${style}38;5;${COLORS[expert % COLORS.length]}m${text}\x1b[0m`;
}

/** The experts' names, each in its color if colors are available. */
export function legend(experts: readonly string[], { colors = true }: { readonly colors?: boolean } = {}): string {
  return experts.map((name, expert) => (colors ? colored(name, expert) : name)).join("  ");
}

/** Shows text with the expert that served it: in colors, or with the name in brackets where it changes. */
export function expertMarker(
  experts: readonly string[],
  { colors }: { readonly colors: boolean },
): (text: string, expert: number) => string {
  let last: number | undefined;
  return (text, expert) => {
    if (text === "" || colors) return text === "" ? "" : colored(text, expert);
    const mark = expert === last ? "" : `[${experts[expert]}]`;
    last = expert;
    return `${mark}${text}`;
  };
}
