/** @file What becomes of the delimiters a text is split at (reference: huggingface/tokenizers, tokenizer/normalizer.rs, `split`). */

import * as z from "zod";
import type { Finder, Part } from "./patterns.ts";

export const behaviorSchema = z.enum(["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]);
export type Behavior = z.output<typeof behaviorSchema>;

/** A piece of text on its way to the model. */
export interface Piece {
  readonly text: string;
  /** It begins where the whole text begins. */
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

/** Joins each part to the one before it where `joins` says so. Before the first stands no match, and nothing to be joined to. */
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

/** The pieces that a piece is split into; empty ones fall away. */
export function split({ text, isFirst }: Piece, finder: Finder, behavior: Behavior): Piece[] {
  const spans = BEHAVIORS[behavior](finder(text)).filter(({ start, end }) => start < end);
  return spans.map(({ start, end }) => ({ text: text.slice(start, end), isFirst: isFirst && start === 0 }));
}
