import { expect, test } from "vitest";
import { seededRandom } from "../../base/random.ts";
import { bootstrapError, bootstrapStandardError, mean, standardError } from "./bootstrap.ts";
import { accuracy, accuracyMultipleAnswers, exactMatch, exactMatchMultipleAnswers } from "./classification.ts";
import { perplexities, perplexity } from "./perplexity.ts";

test("the standard error of 1, 2, 3, 4 is sqrt(5/3) / 2", () => {
  expect(standardError([1, 2, 3, 4])).toBeCloseTo(Math.sqrt(5 / 3) / 2, 12);
});

test("the bootstrap of a mean comes close to the closed form, and the same seed repeats it", () => {
  const random = seededRandom(7);
  const values = Array.from({ length: 400 }, () => random.normal());
  const estimate = bootstrapStandardError(values, { seed: 1, resamples: 500 });
  // The relative error of a deviation from 500 resamples is about 1 / sqrt(1000) = 3 %; 12 % is four of those.
  expect(Math.abs(estimate / standardError(values) - 1)).toBeLessThan(0.12);
  expect(bootstrapStandardError(values, { seed: 1, resamples: 500 })).toBe(estimate);
  expect(bootstrapStandardError(values, { seed: 2, resamples: 500 })).not.toBe(estimate);
  expect(bootstrapError(values, { seed: 1, resamples: 500, statistic: mean })).toBe(estimate);
});

test("accuracy and exact match count right answers, and any of several", () => {
  expect(accuracy([0, 1, 2, 1], [0, 1, 1, 1])).toBe(0.75);
  expect(
    accuracyMultipleAnswers(
      [0, 1],
      [
        [1, 2],
        [0, 1],
      ],
    ),
  ).toBe(0.5);
  expect(exactMatch(["Yes", "no", "a."], ["Yes", "No", "a"])).toBeCloseTo(1 / 3, 12);
  expect(exactMatchMultipleAnswers(["six", "7"], [["6", "six"], ["8"]])).toBe(0.5);
});

test("perplexities weigh documents by tokens, words and bytes", () => {
  const documents = [
    { text: "naïve idea", loglikelihood: -6, tokens: 4 }, // 2 words, 11 bytes
    { text: "one", loglikelihood: -1, tokens: 1 }, // 1 word, 3 bytes
  ];
  const result = perplexities(documents);
  expect(result.tokenPerplexity).toBeCloseTo(Math.exp(7 / 5), 12);
  expect(result.wordPerplexity).toBeCloseTo(Math.exp(7 / 3), 12);
  expect(result.bytePerplexity).toBeCloseTo(Math.exp(7 / 14), 12);
  expect(result.bitsPerByte).toBeCloseTo(0.5 / Math.LN2, 12);
  expect(perplexity([-1, -3])).toBeCloseTo(Math.exp(2), 12);
});
