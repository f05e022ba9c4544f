/** @file Share of right answers: by class index (accuracy) and by text (exact match). Values in 0..1.
 *
 *  The variants with several right answers count a prediction as right if it is any of them. Exact match does not
 *  normalize: case and punctuation count, as in Hugging Face `evaluate` and the PHATGOOSE authors' code. */

import { invariant } from "../../base/errors.ts";

/** Share of predictions equal to their label. */
export function accuracy(predictions: readonly number[], labels: readonly number[]): number {
  return share(predictions, (prediction, i) => prediction === labels[i]);
}

/** Share of predictions that are among their labels. */
export function accuracyMultipleAnswers(predictions: readonly number[], labels: readonly (readonly number[])[]): number {
  return share(predictions, (prediction, i) => labels[i]!.includes(prediction));
}

/** Share of predictions equal to their reference, character by character. */
export function exactMatch(predictions: readonly string[], references: readonly string[]): number {
  return share(predictions, (prediction, i) => prediction === references[i]);
}

/** Share of predictions equal to one of their references, character by character. */
export function exactMatchMultipleAnswers(predictions: readonly string[], references: readonly (readonly string[])[]): number {
  return share(predictions, (prediction, i) => references[i]!.includes(prediction));
}

function share<T>(items: readonly T[], isRight: (item: T, index: number) => boolean): number {
  invariant(items.length > 0, "a metric of no predictions was asked for; readers refuse empty datasets");
  return items.filter(isRight).length / items.length;
}
