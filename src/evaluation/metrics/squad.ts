/** @file Exact match and F1 of SQuAD, as in the official scripts evaluate-v1.1 and evaluate-v2.0.
 *
 *  Answers are normalized: lower case, no ASCII punctuation, no articles (a, an, the), single blanks.
 *    EM = 1 if the normalized answers are equal, F1 = 2 P R / (P + R) over the bag of their words,
 *  each the best over the references. The versions differ where an answer normalizes to nothing: v1.1 then gives
 *  F1 = 0 even on an exact match, v2.0 gives F1 = EM; and v2.0 ignores references that normalize to nothing. */

import { ASCII_PUNCTUATION, countItems, overlap, splitWhitespace } from "./python-text.ts";

/** 1.1: every question has an answer. 2.0: an empty prediction is right where no answer is given. */
export type SquadVersion = "1.1" | "2.0";

/** Both in 0..1. */
export interface SquadScore {
  readonly exactMatch: number;
  readonly f1: number;
}

// Python's \b knows the letters and numbers of every script, JavaScript's only ASCII ones.
const ARTICLES = /(?<![\p{L}\p{N}_])(a|an|the)(?![\p{L}\p{N}_])/gu;

/** The form in which answers are compared. */
export function normalizeAnswer(answer: string): string {
  const letters = [...answer.toLowerCase()].filter((character) => !ASCII_PUNCTUATION.has(character)).join("");
  return splitWhitespace(letters.replace(ARTICLES, " ")).join(" ");
}

/** EM and F1 of one prediction, each the best over its references. */
export function squad(prediction: string, references: readonly string[], version: SquadVersion = "1.1"): SquadScore {
  const predicted = normalizeAnswer(prediction);
  let expected = references.map(normalizeAnswer);
  if (version === "2.0") {
    expected = expected.filter((reference) => reference !== "");
    if (expected.length === 0) expected = [""];
  }
  return {
    exactMatch: expected.includes(predicted) ? 1 : 0,
    f1: Math.max(0, ...expected.map((reference) => wordF1(predicted, reference, version))),
  };
}

/** Means over a corpus, in 0..100 as the official scripts print them. */
export function corpusSquad(
  predictions: readonly string[],
  references: readonly (readonly string[])[],
  version: SquadVersion = "1.1",
): SquadScore {
  const scores = predictions.map((prediction, i) => squad(prediction, references[i]!, version));
  const percent = (field: keyof SquadScore) => (100 * scores.reduce((sum, score) => sum + score[field], 0)) / scores.length;
  return { exactMatch: percent("exactMatch"), f1: percent("f1") };
}

function wordF1(predicted: string, expected: string, version: SquadVersion): number {
  if (version === "2.0" && (predicted === "" || expected === "")) return predicted === expected ? 1 : 0;
  const left = splitWhitespace(predicted);
  const right = splitWhitespace(expected);
  const same = overlap(countItems(left), countItems(right));
  if (same === 0) return 0;
  const precision = same / left.length;
  const recall = same / right.length;
  return (2 * precision * recall) / (precision + recall);
}
