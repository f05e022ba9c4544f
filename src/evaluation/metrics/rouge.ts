/** @file ROUGE-1, ROUGE-2, ROUGE-L and ROUGE-Lsum by the rules of google-research's `rouge_score`.
 *
 *  Tokens: lower case, everything but [a-z0-9] splits (letters outside ASCII are lost), and with `stemmer` words of
 *  more than three letters are stemmed.
 *    ROUGE-n   hits = n-grams in common, each as often as on the side with fewer
 *    ROUGE-L   hits = length of the longest common subsequence
 *    ROUGE-Lsum  lines are sentences; hits = tokens of the union over prediction lines of each reference line's
 *              subsequence, no token counted more often than either side has it
 *    P = hits / |prediction|,  R = hits / |reference|,  F = 2 P R / (P + R)
 *
 *  Reference: C.-Y. Lin, "ROUGE: A package for automatic evaluation of summaries", 2004. */

import { porterStem } from "./porter-stemmer.ts";
import { countItems, countNgrams, overlap } from "./python-text.ts";

export const ROUGE_TYPES = ["rouge1", "rouge2", "rougeL", "rougeLsum"] as const;
/** rouge1 and rouge2 count n-grams, rougeL the longest common subsequence, rougeLsum that of each line. */
export type RougeType = (typeof ROUGE_TYPES)[number];

/** Precision, recall and F-measure, each in 0..1. */
export interface RougeScore {
  readonly precision: number;
  readonly recall: number;
  readonly fmeasure: number;
}

/** What ROUGE does to words before it compares them. */
export interface RougeOptions {
  /** Stem words of more than three letters (default false). */
  readonly stemmer?: boolean;
}

/** The tokens that ROUGE compares. */
export function rougeTokens(text: string, { stemmer = false }: RougeOptions = {}): string[] {
  const words = text.toLowerCase().match(/[a-z0-9]+/g) ?? [];
  return stemmer ? words.map((word) => (word.length > 3 ? porterStem(word) : word)) : [...words];
}

/** Every ROUGE type of one prediction against one reference; values in 0..1.
 *  @example
 *  import { rouge } from "skein/metrics";
 *
 *  console.log(rouge("the cat sat", "the cat sat down").rougeL.fmeasure); // 0.857... */
export function rouge(prediction: string, reference: string, options: RougeOptions = {}): Record<RougeType, RougeScore> {
  const predicted = rougeTokens(prediction, options);
  const expected = rougeTokens(reference, options);
  return {
    rouge1: ngramScore(predicted, expected, 1),
    rouge2: ngramScore(predicted, expected, 2),
    rougeL: toScore(subsequenceLength(predicted, expected), predicted.length, expected.length),
    rougeLsum: summaryScore(sentences(prediction, options), sentences(reference, options)),
  };
}

/** For each ROUGE type, the score of the reference with the largest F-measure (the first of them on a tie). */
export function bestRouge(prediction: string, references: readonly string[], options: RougeOptions = {}): Record<RougeType, RougeScore> {
  const scores = references.map((reference) => rouge(prediction, reference, options));
  const best = (type: RougeType) =>
    scores.map((score) => score[type]).reduce((a, b) => (b.fmeasure > a.fmeasure ? b : a), toScore(0, 0, 0));
  return { rouge1: best("rouge1"), rouge2: best("rouge2"), rougeL: best("rougeL"), rougeLsum: best("rougeLsum") };
}

function toScore(hits: number, predicted: number, expected: number): RougeScore {
  const precision = hits / Math.max(predicted, 1);
  const recall = hits / Math.max(expected, 1);
  const fmeasure = precision + recall > 0 ? (2 * precision * recall) / (precision + recall) : 0;
  return { precision, recall, fmeasure };
}

function ngramScore(predicted: readonly string[], expected: readonly string[], n: number): RougeScore {
  const hits = overlap(countNgrams(predicted, n), countNgrams(expected, n));
  return toScore(hits, Math.max(predicted.length - n + 1, 0), Math.max(expected.length - n + 1, 0));
}

function sentences(text: string, options: RougeOptions): string[][] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => rougeTokens(line, options));
}

function subsequenceLength(left: readonly string[], right: readonly string[]): number {
  const row = new Uint32Array(right.length + 1);
  for (const token of left) {
    let diagonal = 0;
    for (let j = 1; j <= right.length; j++) {
      const above = row[j]!;
      row[j] = token === right[j - 1] ? diagonal + 1 : Math.max(above, row[j - 1]!);
      diagonal = above;
    }
  }
  return row[right.length]!;
}

/** Marks in `found` the positions of `reference` in one longest common subsequence with `candidate`. It keeps only one row of the
 *  table of lengths, and one bit per cell: whether the left neighbor is larger than the upper one. */
function markSubsequence(reference: readonly string[], candidate: readonly string[], found: Uint8Array): void {
  const width = candidate.length + 1;
  const row = new Uint32Array(width);
  const isLeftLonger = new Uint8Array(Math.ceil(((reference.length + 1) * width) / 8));
  for (let i = 1; i <= reference.length; i++) {
    let diagonal = 0;
    for (let j = 1; j < width; j++) {
      const [above, left, at] = [row[j]!, row[j - 1]!, i * width + j];
      if (left > above) isLeftLonger[Math.floor(at / 8)]! |= 1 << (at % 8);
      row[j] = reference[i - 1] === candidate[j - 1] ? diagonal + 1 : Math.max(above, left);
      diagonal = above;
    }
  }
  let i = reference.length;
  let j = candidate.length;
  while (i > 0 && j > 0) {
    if (reference[i - 1] === candidate[j - 1]) {
      found[i - 1] = 1;
      i--;
      j--;
    } else if (isLeftLonger[Math.floor((i * width + j) / 8)]! & (1 << ((i * width + j) % 8))) j--;
    else i--; // the choice among several subsequences changes the union, so ties are resolved as in rouge_score
  }
}

function summaryScore(predicted: readonly string[][], expected: readonly string[][]): RougeScore {
  const left = countItems(predicted.flat());
  const right = countItems(expected.flat());
  let hits = 0;
  for (const reference of expected) {
    const found = new Uint8Array(reference.length);
    for (const candidate of predicted) markSubsequence(reference, candidate, found);
    for (const [position, token] of reference.entries()) {
      const inPrediction = left.get(token) ?? 0;
      const inReference = right.get(token) ?? 0;
      if (!found[position] || inPrediction === 0 || inReference === 0) continue;
      hits++;
      left.set(token, inPrediction - 1);
      right.set(token, inReference - 1);
    }
  }
  return toScore(hits, predicted.flat().length, expected.flat().length);
}
