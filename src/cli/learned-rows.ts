/** @file Shows what a model learns from a file of examples: the number of tokens with loss, and which tokens of the first rows. */

import { counted } from "../base/counted.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { EncodedSet } from "../training/examples.ts";
import { IGNORED } from "../training/loss.ts";
import type { CommonFlags, Io } from "./io.ts";

export interface Shown {
  readonly tokenizer: Tokenizer;
  /** The number of first rows to show. */
  readonly rows: number;
  readonly kind: "decoder-only" | "encoder-decoder";
}

/** Prints counts, and the first rows with the learned tokens in [[ ]]. */
export function showLearned(io: Io, flags: CommonFlags, set: EncodedSet, { tokenizer, rows, kind }: Shown): void {
  const { answers, tokens, excerpt } = set;
  const first = set.examples.flatMap((example, i) => (set.rows[i]! < (set.rows[0] ?? 0) + rows ? [{ example, row: set.rows[i]! }] : []));
  const lines = first.map(({ example, row }) => ({
    row: row + 1,
    text: kind === "decoder-only" ? marked(example, tokenizer) : paired(example, tokenizer),
  }));
  if (flags.json) {
    const learned = { answers, tokens: tokens.learned, of: tokens.all, ...(excerpt && { excerpt }) };
    io.err(`${JSON.stringify({ learned, rows: lines })}\n`);
    return;
  }
  const place = excerpt ? `In the first ${excerpt.rows} of ${excerpt.of} rows, loss` : "Loss";
  io.err(`${place} falls on ${counted(answers, "answer")}: ${tokens.learned} of ${counted(tokens.all, "token")}.\n`);
  for (const { row, text } of lines) io.err(`Row ${row}, learned in [[ ]]: ${text}\n`);
}

type Example = EncodedSet["examples"][number];

/** A sequence as one line of text, with the learned tokens in brackets. */
function marked({ inputs, labels }: Example, tokenizer: Tokenizer): string {
  const ids = [...inputs, ...labels.slice(-1).filter((label) => label !== IGNORED)];
  let isLearned = false;
  const pieces = ids.map((id, i) => {
    const before = isLearned;
    isLearned = i > 0 && labels[i - 1] !== IGNORED;
    return `${before === isLearned ? "" : isLearned ? "[[" : "]]"}${inOneLine(tokenizer.tokenText(id))}`;
  });
  return pieces.join("") + (isLearned ? "]]" : "");
}

/** Input and target of an encoder-decoder model. */
function paired({ inputs, labels }: Example, tokenizer: Tokenizer): string {
  return `${inOneLine(tokenizer.decode(inputs))} [[${inOneLine(tokenizer.decode(labels))}]]`;
}

const inOneLine = (text: string): string => text.replaceAll("\n", "\\n").replaceAll("\r", "\\r");
