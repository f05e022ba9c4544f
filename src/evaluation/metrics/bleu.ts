/** @file BLEU as sacrebleu computes it (Papineni et al. 2002; M. Post, "A call for clarity in reporting BLEU scores", 2018).
 *
 *    p_n  = clipped n-gram matches / n-grams of the prediction, n = 1..4, smoothed where there is no match
 *    BP   = 1 if predictions are at least as long as references, else exp(1 - referenceLength / predictionLength)
 *    BLEU = 100 BP exp(mean_n log p_n)
 *
 *  The reference length of a sentence is the closest one, the shorter on a tie. Smoothing (Chen and Cherry 2014):
 *  `exp` halves the value for each further order without a match, `floor` uses 0.1 matches, `add-k` adds 1 to matches and totals
 *  of orders above 1. Sentences use the effective order (the orders that the prediction has), corpora do not. */

import { type BleuTokenizer, tokenizeForBleu } from "./bleu-tokenizers.ts";
import { countNgrams, splitWhitespace, stripRight } from "./python-text.ts";

const MAX_ORDER = 4;

/** What is done about orders of n-grams without a match, as sacreBLEU names it. */
export type BleuSmoothing = "none" | "floor" | "add-k" | "exp";

/** sacreBLEU's options; its defaults where they are absent. */
export interface BleuOptions {
  readonly tokenizer?: BleuTokenizer;
  readonly smoothing?: BleuSmoothing;
  /** The value that `floor` and `add-k` use (defaults 0.1 and 1). */
  readonly smoothingValue?: number;
  readonly lowercase?: boolean;
  /** Average only over the orders that the prediction has (default: true for sentences, false for corpora). */
  readonly effectiveOrder?: boolean;
}

/** The counts behind BLEU; those of a corpus are the sums over its sentences. */
export interface BleuStatistics {
  /** Clipped matches for n = 1..4. */
  readonly counts: readonly number[];
  /** n-grams of the prediction for n = 1..4. */
  readonly totals: readonly number[];
  readonly predictionLength: number;
  readonly referenceLength: number;
}

/** A BLEU score in 0..100, with what it was computed from. */
export interface BleuScore extends BleuStatistics {
  /** 0..100. */
  readonly score: number;
  /** Smoothed precisions for n = 1..4, 0..100. */
  readonly precisions: readonly number[];
  readonly brevityPenalty: number;
}

/** BLEU of one prediction against one or more references, 0..100. */
export function sentenceBleu(prediction: string, references: readonly string[], options: BleuOptions = {}): BleuScore {
  return bleuFromStatistics(bleuStatistics(prediction, references, options), { effectiveOrder: true, ...options });
}

/** BLEU of a corpus: statistics are summed over sentences first. `references[i]` are those of `predictions[i]`. */
export function corpusBleu(
  predictions: readonly string[],
  references: readonly (readonly string[])[],
  options: BleuOptions = {},
): BleuScore {
  const parts = predictions.map((prediction, i) => bleuStatistics(prediction, references[i]!, options));
  return bleuFromStatistics(addBleuStatistics(parts), options);
}

/** Matches, totals and lengths of one sentence. */
export function bleuStatistics(
  prediction: string,
  references: readonly string[],
  { tokenizer = "13a", lowercase = false }: BleuOptions = {},
): BleuStatistics {
  const tokens = (text: string) => splitWhitespace(tokenizeForBleu(stripRight(lowercase ? text.toLowerCase() : text), tokenizer));
  const predicted = tokens(prediction);
  const expected = references.map(tokens);
  const counts = [];
  const totals = [];
  for (let n = 1; n <= MAX_ORDER; n++) {
    const limits = expected.map((reference) => countNgrams(reference, n));
    let matches = 0;
    for (const [ngram, count] of countNgrams(predicted, n)) {
      matches += Math.min(count, Math.max(0, ...limits.map((limit) => limit.get(ngram) ?? 0)));
    }
    counts.push(matches);
    totals.push(Math.max(predicted.length - n + 1, 0));
  }
  const lengths = expected.map((reference) => reference.length);
  return {
    counts,
    totals,
    predictionLength: predicted.length,
    referenceLength: closest(lengths, predicted.length),
  };
}

/** The sum of the statistics of sentences. */
export function addBleuStatistics(parts: readonly BleuStatistics[]): BleuStatistics {
  const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
  const orders = Array.from({ length: MAX_ORDER }, (_, i) => i);
  return {
    counts: orders.map((i) => sum(parts.map((part) => part.counts[i]!))),
    totals: orders.map((i) => sum(parts.map((part) => part.totals[i]!))),
    predictionLength: sum(parts.map((part) => part.predictionLength)),
    referenceLength: sum(parts.map((part) => part.referenceLength)),
  };
}

/** The score from the counts. Without any match it is 0, with every smoothing. */
export function bleuFromStatistics(statistics: BleuStatistics, options: BleuOptions = {}): BleuScore {
  const { predictionLength, referenceLength } = statistics;
  const brevityPenalty = brevity(predictionLength, referenceLength);
  if (statistics.counts.every((count) => count === 0)) {
    return { ...statistics, score: 0, precisions: statistics.counts.map(() => 0), brevityPenalty };
  }
  const { counts, totals, precisions, order } = smoothedPrecisions(statistics, options);
  const logs = precisions.slice(0, order).map((p) => (p === 0 ? -9999999999 : Math.log(p))); // sacrebleu's log of zero
  const score = brevityPenalty * Math.exp(logs.reduce((a, b) => a + b, 0) / order);
  return { predictionLength, referenceLength, counts, totals, precisions, brevityPenalty, score };
}

function smoothedPrecisions(statistics: BleuStatistics, options: BleuOptions) {
  const { smoothing = "exp", effectiveOrder = false } = options;
  const value = options.smoothingValue ?? (smoothing === "floor" ? 0.1 : 1);
  const counts = [...statistics.counts];
  const totals = [...statistics.totals];
  const precisions = counts.map(() => 0);
  let order = MAX_ORDER;
  let halving = 1;
  for (let i = 0; i < MAX_ORDER; i++) {
    if (smoothing === "add-k" && i > 0) {
      counts[i]! += value;
      totals[i]! += value;
    }
    const total = totals[i]!;
    if (total === 0) break;
    if (effectiveOrder) order = i + 1;
    if (counts[i]! > 0) precisions[i] = (100 * counts[i]!) / total;
    else if (smoothing === "exp") {
      halving *= 2;
      precisions[i] = 100 / (halving * total);
    } else if (smoothing === "floor") precisions[i] = (100 * value) / total;
  }
  return { counts, totals, precisions, order };
}

function brevity(predictionLength: number, referenceLength: number): number {
  if (predictionLength >= referenceLength) return 1;
  return predictionLength > 0 ? Math.exp(1 - referenceLength / predictionLength) : 0;
}

function closest(lengths: readonly number[], target: number): number {
  const sorted = [...lengths].sort((a, b) => Math.abs(a - target) - Math.abs(b - target) || a - b);
  return sorted[0] ?? 0;
}
