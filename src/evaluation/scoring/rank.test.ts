import { expect, test } from "vitest";
import { bestChoice, choiceScore, rightChoices } from "./rank.ts";

const of = (...perToken: number[]) => ({ sum: perToken.reduce((a, b) => a + b, 0), tokens: perToken.length });

test("a choice twice as long with the same mean ties, and the first wins", () => {
  const [short, long] = [of(-1, -2, -1.5, -1.5), of(-1, -2, -1.5, -1.5, -1, -2, -1.5, -1.5)];
  // Up to the 1e-6 in the denominator, which is the authors' own.
  expect(choiceScore(short, "ab", "token_mean")).toBeCloseTo(choiceScore(long, "abab", "token_mean"), 5);
  expect(bestChoice([of(-2), of(-2)], ["a", "b"], "token_mean")).toBe(0);
  expect(choiceScore(long, "abab", "sum")).toBe(2 * choiceScore(short, "ab", "sum"));
});

test("the rules disagree where they should", () => {
  const choices = ["é", "no way"];
  const likelihoods = [of(-3), of(-1, -1, -2)];
  expect(bestChoice(likelihoods, choices, "sum")).toBe(0);
  expect(bestChoice(likelihoods, choices, "token_mean")).toBe(1);
  expect(bestChoice(likelihoods, choices, "characters")).toBe(1);
  // é is two bytes: -1.5 a byte against -4/6.
  expect(choiceScore(likelihoods[0]!, choices[0]!, "bytes")).toBe(-1.5);
  expect(choiceScore(likelihoods[0]!, choices[0]!, "characters")).toBe(-3);
});

test("choices of different number and length rank without padding", () => {
  expect(bestChoice([of(-9)], ["only"], "token_mean")).toBe(0);
  expect(bestChoice([of(-5, -5), of(-4), of(-6, -1, -1)], ["a", "b", "c"], "token_mean")).toBe(2);
});

test("labels come from the data, else from the tokens that agree with the target's", () => {
  const tokenizer = { encode: (text: string) => [...text].map((letter) => letter.codePointAt(0)!) };
  const example = { input: "", target: "yes.", choices: ["no", "yes"] };
  expect(rightChoices(example, tokenizer)).toEqual({ label: 1, labels: [1] });
  expect(rightChoices({ ...example, label: 0 }, tokenizer)).toEqual({ label: 0, labels: [0] });
  expect(rightChoices({ ...example, label: 0, labels: [0, 1] }, tokenizer)).toEqual({ label: 0, labels: [0, 1] });
});
