/** @file Splits the rows of a set so that no content is in two parts.
 *
 *  Rows of prompted sets often share a passage, and a test row whose passage was trained on would measure memory. Rows that share a
 *  line of 50 characters or more belong together, unless the line is a template's: one that a quarter of all rows have. A group of
 *  rows goes to one part, by a hash of its first line. */

import { derivedSeed } from "../base/random.ts";

export const PARTS = ["train", "validation", "test"] as const;
export type Part = (typeof PARTS)[number];

const LONG = 50; // characters: shorter lines are questions and labels, which unrelated rows share
const TEMPLATE_SHARE = 0.25;

/** The part of each text: 60 % of the groups are for training, 15 % for validation, 25 % for tests. */
export function contentSplit(texts: readonly string[]): Part[] {
  const lines = texts.map(longLines);
  const count = new Map<string, number>();
  for (const own of lines) for (const line of own) count.set(line, (count.get(line) ?? 0) + 1);
  const most = Math.max(2, texts.length * TEMPLATE_SHARE);
  const parent = texts.map((_, i) => i);
  const root = (i: number): number => {
    let at = i;
    while (parent[at] !== at) at = parent[at]!;
    return at;
  };
  const first = new Map<string, number>();
  for (const [i, own] of lines.entries()) {
    for (const line of own) {
      if (count.get(line)! > most) continue;
      const other = first.get(line);
      if (other === undefined) first.set(line, i);
      else parent[Math.max(root(i), root(other))] = Math.min(root(i), root(other));
    }
  }
  return texts.map((_, i) => partOf(normalized(texts[root(i)]!)));
}

function partOf(content: string): Part {
  const slot = derivedSeed("content", content) % 20;
  return slot < 12 ? "train" : slot < 15 ? "validation" : "test";
}

function longLines(text: string): Set<string> {
  const whole = normalized(text);
  const lines = text.split(/\n|(?<=[.!?]) /).map(normalized);
  return new Set([whole, ...lines.filter((line) => line.length >= LONG)]);
}

/** Letters and digits in lower case, so that texts with other spacing and punctuation are the same content. */
function normalized(text: string): string {
  return text
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]+/gu, " ")
    .trim();
}
