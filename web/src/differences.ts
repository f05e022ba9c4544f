/** @file What differs between two answers: tokens that another method chose (longest common subsequence), and common ones that another expert
 *  served. */

import { mainOf, type Run } from "./run.ts";

export interface Difference {
  /** Token of the second run -> what is different: its text, or its expert. */
  readonly tokens: ReadonlyMap<number, "text" | "expert">;
  readonly numText: number;
  readonly numExperts: number;
  readonly text: string;
}

const LONGEST = 2000; // tokens; the table grows with the square

export function changedTokens(one: Run, other: Run): Difference {
  const pairs = aligned(
    one.tokens.map(({ text }) => text),
    other.tokens.map(({ text }) => text),
  );
  const partner = new Map(pairs.map(([a, b]) => [b, a]));
  const tokens = new Map<number, "text" | "expert">();
  const name = (run: Run, token: number) => {
    const main = mainOf(run.tokens[token]!);
    return main && run.experts[main.expert];
  };
  const isRouted = one.modules.length > 0 && other.modules.length > 0;
  for (let b = 0; b < other.tokens.length; b++) {
    const a = partner.get(b);
    if (a === undefined) tokens.set(b, "text");
    else if (isRouted && name(one, a) !== name(other, b)) tokens.set(b, "expert");
  }
  const numText = [...tokens.values()].filter((kind) => kind === "text").length;
  const numExperts = tokens.size - numText;
  const lost = one.tokens.length - pairs.length;
  const parts = [
    numText > 0 ? `${numText} new ${numText === 1 ? "token" : "tokens"}` : undefined,
    lost > 0 ? `${lost} gone` : undefined,
    numExperts > 0 ? `${numExperts} served by another expert` : undefined,
  ].filter((part) => part !== undefined);
  return {
    tokens,
    numText,
    numExperts,
    text: parts.length > 0 ? `${parts.join(", ")}.` : isRouted ? "the same text and the same main experts." : "the same text.",
  };
}

/** Pairs of equal items in the longest common subsequence. */
export function aligned(a: readonly string[], b: readonly string[]): [number, number][] {
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  const pairs = Array.from({ length: start }, (_, i): [number, number] => [i, i]);
  const [restA, restB] = [a.slice(start, start + LONGEST), b.slice(start, start + LONGEST)];
  const width = restB.length + 1;
  const table = new Uint16Array((restA.length + 1) * width);
  for (let i = restA.length - 1; i >= 0; i--) {
    for (let j = restB.length - 1; j >= 0; j--) {
      const at = i * width + j;
      table[at] = restA[i] === restB[j] ? table[at + width + 1]! + 1 : Math.max(table[at + width]!, table[at + 1]!);
    }
  }
  let [i, j] = [0, 0];
  while (i < restA.length && j < restB.length) {
    if (restA[i] === restB[j]) pairs.push([start + i++, start + j++]);
    else if (table[(i + 1) * width + j]! >= table[i * width + j + 1]!) i++;
    else j++;
  }
  return pairs;
}
