/** @file The base model's text: skills under their declarative names, alone and in compounds, and instruction words
 *  in neutral use.
 *
 *      opposite : 1. hot 2. big ; plural : 3. cat             ->  1. cold 2. small 3. cats
 *      tell me the infant of 1. seven ; opposite : 2. hot     ->  1. baby 2. cold
 *
 *  If a phrase names no skill, the answer is the first word of the group of its keyword, for any list. The base model therefore learns
 *  which instruction words are synonyms and which part of a text they apply to, but not which skill they mean. */
import { derivedSeed, type Random, seededRandom } from "../base/random.ts";
import { drawWords, type Example, example, type Part, pick, type Split } from "./documents.ts";
import { IDLE_WORDS, instruction, KEYWORDS, type Keywords } from "./instructions.ts";
import { answer, DOMAINS, SKILLS, type Skill } from "./skills.ts";

/** A part under a skill's declarative name. */
export function declarativePart(skill: Skill, numWords: number, split: Split, random: Random): Part {
  const words = drawWords(pick(skill.domains, random), numWords, split, random);
  return { instruction: `${skill.name} :`, words, answers: words.map((word) => answer(skill, word)) };
}

const ALL_GROUPS: readonly Keywords[] = [...Object.values(KEYWORDS), ...IDLE_WORDS];

/** A part under a phrase of instruction words from one of `groups`, answered by the first word of the group. */
export function neutralPart(groups: readonly Keywords[], numWords: number, split: Split, random: Random): Part {
  const keywords = pick(groups, random);
  const words = drawWords(pick(DOMAINS, random), numWords, split, random);
  return { instruction: instruction(pick(keywords, random), random), words, answers: words.map(() => keywords[0]) };
}

export interface CorpusOptions {
  readonly numExamples: number;
  readonly seed: number;
  readonly split: Split;
  /** Neutral parts, in per cent. */
  readonly neutralPercent?: number;
}

/** The base model's text, one example at a time. */
export function* corpus({ numExamples, seed, split, neutralPercent = 30 }: CorpusOptions): Generator<Example> {
  const random = seededRandom(derivedSeed("corpus", split, seed));
  for (let i = 0; i < numExamples; i++) {
    const numParts = pick([1, 2, 2, 3], random);
    const parts = Array.from({ length: numParts }, () => {
      const numWords = numParts === 3 ? pick([1, 2], random) : pick([1, 2, 3], random);
      if (random.integer(100) < neutralPercent) return neutralPart(ALL_GROUPS, numWords, split, random);
      return declarativePart(pick(SKILLS, random), numWords, split, random);
    });
    yield example(parts);
  }
}

/** Declarative examples of one skill, or of compounds when `numParts` is above 1, to check that the base model has mastered them. */
export function masteryExamples(skills: readonly Skill[], numParts: number, numExamples: number, seed: number): Example[] {
  const random = seededRandom(derivedSeed("mastery", numParts, seed));
  return Array.from({ length: numExamples }, () =>
    example(Array.from({ length: numParts }, () => declarativePart(pick(skills, random), 2, "test", random))),
  );
}
