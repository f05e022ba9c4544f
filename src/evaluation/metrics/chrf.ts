/** @file chrF and chrF++ as sacrebleu computes them (M. Popović 2015, 2017).
 *
 *    P, R = mean over orders of matched n-grams / n-grams of the prediction, of the reference
 *    chrF = 100 (1 + b^2) P R / (b^2 P + R),  b = 2
 *
 *  Orders: characters 1..6 without whitespace, and words 1..`wordOrder` (0 for chrF, 2 for chrF++) with one leading or
 *  trailing punctuation mark split off. An order that either side lacks does not count. With several references the best one counts. */

import { ASCII_PUNCTUATION, countNgrams, overlap, splitWhitespace } from "./python-text.ts";

const CHARACTER_ORDER = 6;
const BETA = 2;

/** sacreBLEU's option of chrF. */
export interface ChrfOptions {
  /** 0 for chrF (default), 2 for chrF++. */
  readonly wordOrder?: number;
}

/** For one order: n-grams of the prediction, of the reference, and in common. */
interface OrderStatistics {
  readonly predicted: number;
  readonly expected: number;
  readonly matched: number;
}

/** chrF of one prediction against one or more references, 0..100. */
export function sentenceChrf(prediction: string, references: readonly string[], options: ChrfOptions = {}): number {
  return chrfScore(bestStatistics(prediction, references, options));
}

/** chrF of a corpus, 0..100: the statistics of each sentence's best reference are summed first. */
export function corpusChrf(predictions: readonly string[], references: readonly (readonly string[])[], options: ChrfOptions = {}): number {
  const parts = predictions.map((prediction, i) => bestStatistics(prediction, references[i]!, options));
  const sum = (order: number, field: keyof OrderStatistics) => parts.reduce((total, part) => total + part[order]![field], 0);
  return chrfScore(
    (parts[0] ?? []).map((_, order) => ({
      predicted: sum(order, "predicted"),
      expected: sum(order, "expected"),
      matched: sum(order, "matched"),
    })),
  );
}

function bestStatistics(prediction: string, references: readonly string[], { wordOrder = 0 }: ChrfOptions) {
  const predicted = ngrams(prediction, wordOrder);
  const candidates = references.map((reference) =>
    ngrams(reference, wordOrder).map((expected, order): OrderStatistics => {
      const size = total(expected);
      return {
        predicted: size > 0 ? total(predicted[order]!) : 0,
        expected: size,
        matched: overlap(predicted[order]!, expected),
      };
    }),
  );
  return candidates.reduce((a, b) => (chrfScore(b) > chrfScore(a) ? b : a));
}

function chrfScore(orders: readonly OrderStatistics[]): number {
  const counted = orders.filter(({ predicted, expected }) => predicted > 0 && expected > 0);
  const mean = (side: "predicted" | "expected") =>
    counted.reduce((sum, order) => sum + order.matched / order[side], 0) / Math.max(counted.length, 1);
  const precision = mean("predicted");
  const recall = mean("expected");
  if (precision + recall === 0) return 0;
  return (100 * (1 + BETA ** 2) * precision * recall) / (BETA ** 2 * precision + recall);
}

function ngrams(text: string, wordOrder: number): Map<string, number>[] {
  const characters = [...splitWhitespace(text).join("")];
  const words = splitWhitespace(text).flatMap(splitPunctuation);
  return [
    ...Array.from({ length: CHARACTER_ORDER }, (_, i) => countNgrams(characters, i + 1, "")),
    ...Array.from({ length: wordOrder }, (_, i) => countNgrams(words, i + 1)),
  ];
}

function splitPunctuation(word: string): string[] {
  const characters = [...word];
  if (characters.length === 1) return [word];
  if (ASCII_PUNCTUATION.has(characters.at(-1)!)) return [word.slice(0, -1), word.slice(-1)];
  return ASCII_PUNCTUATION.has(characters[0]!) ? [word.slice(0, 1), word.slice(1)] : [word];
}

function total(counts: ReadonlyMap<string, number>): number {
  let sum = 0;
  for (const count of counts.values()) sum += count;
  return sum;
}
