/** @file The form of the demo's texts: parts, each with an instruction and a numbered list, and the answers in one list.
 *
 *      give the contrary of 1. hot 2. big ; tell me the infant of 3. dog   ->   1. cold 2. small 3. puppy
 *
 *  T5's cross-attention has no positions, so the decoder finds an item by its number.
 *  Every list of two or more words belongs to exactly one split, by a hash of its words. A test list is never used in training,
 *  with any instruction, nor in the base model's text. */
import { derivedSeed, type Random } from "../base/random.ts";
import { type Domain, wordsOf } from "./skills.ts";

export type Split = "train" | "validation" | "test";

/** One instruction with its list of words and their answers. */
export interface Part {
  readonly instruction: string;
  readonly words: readonly string[];
  readonly answers: readonly string[];
}

/** An input and its target. */
export interface Example {
  readonly input: string;
  readonly target: string;
}

/** The largest number of list items in one text, which is also the number of markers in the vocabulary. */
export const MOST_ITEMS = 6;

/** The marker of the item at `index` (from 0): "1.", "2.", ... */
export const marker = (index: number): string => `${index + 1}.`;

/** The split of a list of words: of ten lists, seven are for training, one for validation, two for tests. Single words are for training. */
export function splitOf(words: readonly string[]): Split {
  if (words.length < 2) return "train";
  const slot = derivedSeed("split", ...words) % 10;
  return slot < 7 ? "train" : slot < 8 ? "validation" : "test";
}

/** Joins parts to one example and numbers all of their items. */
export function example(parts: readonly Part[]): Example {
  let index = 0;
  const inputs: string[] = [];
  const targets: string[] = [];
  for (const { instruction, words, answers } of parts) {
    const first = index;
    inputs.push([instruction, ...words.map((word, i) => `${marker(first + i)} ${word}`)].join(" "));
    targets.push(...answers.map((text, i) => `${marker(first + i)} ${text}`));
    index += words.length;
  }
  return { input: inputs.join(" ; "), target: targets.join(" ") };
}

/** `count` different words of one domain, drawn until the list belongs to `split`. */
export function drawWords(domain: Domain, count: number, split: Split, random: Random): readonly string[] {
  const words = wordsOf(domain);
  while (true) {
    const drawn = new Set<string>();
    while (drawn.size < count) drawn.add(words[random.integer(words.length)]!);
    const list = [...drawn];
    if (count < 2 || splitOf(list) === split) return list;
  }
}

/** One of `choices`, uniformly. */
export function pick<const T>(choices: readonly T[], random: Random): T {
  return choices[random.integer(choices.length)]!;
}
