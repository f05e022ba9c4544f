/** @file What a split does with its delimiters (reference: huggingface/tokenizers, tokenizer/normalizer.rs, `split`). */

import * as z from "zod";
import type { Finder, Part } from "./patterns.ts";

export const behaviorSchema = z.enum(["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]);
export type Behavior = z.output<typeof behaviorSchema>;

/** A piece of text before it enters the model. */
export interface Piece {
  readonly text: string;
  /** Whether it is at the start of the whole text. */
  readonly isFirst: boolean;
}

type Span = Pick<Part, "start" | "end">;

const BEHAVIORS: Readonly<Record<Behavior, (parts: readonly Part[]) => readonly Span[]>> = {
  Removed: (parts) => parts.filter(({ matches }) => !matches),
  Isolated: (parts) => parts,
  Contiguous: (parts) => joined(parts, (part, before) => part.matches === before),
  MergedWithPrevious: (parts) => joined(parts, (part, before) => part.matches && !before),
  MergedWithNext: (parts) => joined([...parts].reverse(), (part, before) => part.matches && !before).reverse(),
};

/** Joins each part to the previous one if `joins` returns true. The first part has no previous one. */
function joined(parts: readonly Part[], joins: (part: Part, before: boolean) => boolean): Span[] {
  const spans: Span[] = [];
  let before = false;
  for (const part of parts) {
    const last = spans.at(-1);
    if (last && joins(part, before))
      spans[spans.length - 1] = { start: Math.min(last.start, part.start), end: Math.max(last.end, part.end) };
    else spans.push(part);
    before = part.matches;
  }
  return spans;
}

/** Splits a piece into pieces; empty ones are dropped. */
export function split({ text, isFirst }: Piece, finder: Finder, behavior: Behavior): Piece[] {
  const spans = BEHAVIORS[behavior](finder(text)).filter(({ start, end }) => start < end);
  return spans.map(({ start, end }) => ({ text: text.slice(start, end), isFirst: isFirst && start === 0 }));
}
