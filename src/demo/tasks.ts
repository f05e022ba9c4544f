/** @file The tasks of the demo: twelve for training experts, and held-out tasks for evaluating routing.
 *
 *  A held-in task assigns instruction words to one skill. There are three groups of held-out tasks:
 *    - new words:  a known skill with a keyword that no expert was trained on;
 *    - new domain: a known skill with known keywords, on words of a domain that its expert was not trained on;
 *    - compound:   two parts with the keywords of two experts.
 *  Development tasks are made in the same way from other keywords and pairs; recipes are chosen only by them. */

import { derivedSeed, type Random, seededRandom } from "../base/random.ts";
import { declarativePart, neutralPart } from "./corpus.ts";
import { drawWords, type Example, example, type Part, pick, type Split } from "./documents.ts";
import { IDLE_WORDS, instruction, KEYWORDS, type Keywords, TAUGHT_SKILLS, type TaughtSkill } from "./instructions.ts";
import { answer, type Domain, SKILLS, skillNamed } from "./skills.ts";

export type TaskKind = "held-in" | "new words" | "new domain" | "compound";

/** One part of a task: its skill, its keywords, and its domains. */
export interface PartRule {
  readonly skill: string;
  readonly domains: readonly Domain[];
  readonly keywords: readonly string[];
}

export interface DemoTask {
  readonly name: string;
  readonly kind: TaskKind;
  /** Its skills, in the order of its parts. */
  readonly skills: readonly string[];
  readonly parts: readonly PartRule[];
}

/** The domains of an expert's training data; default: all of the skill's domains. */
const TRAINED_DOMAINS: { readonly [S in TaughtSkill]?: readonly Domain[] } = {
  plural: ["animals"],
  letter: ["animals", "verbs", "things"],
};

const trainedDomains = (skill: TaughtSkill) => TRAINED_DOMAINS[skill] ?? skillNamed(skill).domains;

const usual = (skill: TaughtSkill): PartRule => ({
  skill,
  domains: trainedDomains(skill),
  keywords: KEYWORDS[skill].slice(0, 3),
});

const task = (name: string, kind: TaskKind, parts: readonly PartRule[]): DemoTask => ({
  name,
  kind,
  skills: parts.map((part) => part.skill),
  parts,
});

const newWords = (skill: TaughtSkill, keyword: 3 | 4): DemoTask =>
  task(`${skill}-new-words`, "new words", [{ ...usual(skill), keywords: [KEYWORDS[skill][keyword]] }]);

const newDomain = (skill: TaughtSkill, domain: Domain): DemoTask =>
  task(`${skill}-${domain}`, "new domain", [{ ...usual(skill), domains: [domain] }]);

const compound = (first: TaughtSkill, second: TaughtSkill): DemoTask =>
  task(`${first}+${second}`, "compound", [usual(first), usual(second)]);

/** The tasks that experts are trained on, one expert each. */
export const HELD_IN_TASKS: readonly DemoTask[] = TAUGHT_SKILLS.map((skill) => task(skill, "held-in", [usual(skill)]));

/** The tasks of the final table. No choice is based on them. */
export const HELD_OUT_TASKS: readonly DemoTask[] = [
  newWords("opposite", 4),
  newWords("language", 4),
  newDomain("plural", "things"),
  newDomain("letter", "countries"),
  compound("opposite", "capital"),
  compound("young", "past"),
  compound("plural", "next"),
  compound("colour", "doer"),
  compound("language", "capital"),
];

/** The tasks for choosing recipes. */
export const DEVELOPMENT_TASKS: readonly DemoTask[] = [
  newWords("past", 3),
  newWords("young", 3),
  newDomain("letter", "adjectives"),
  compound("more", "previous"),
  compound("letter", "language"),
  compound("past", "colour"),
  compound("plural", "young"),
];

function part(rule: PartRule, numWords: number, split: Split, random: Random): Part {
  const skill = skillNamed(rule.skill);
  const words = drawWords(pick(rule.domains, random), numWords, split, random);
  return {
    instruction: instruction(pick(rule.keywords, random), random),
    words,
    answers: words.map((word) => answer(skill, word)),
  };
}

/** A part that the base model already answers and an expert must not change: a skill by its name, or words without a skill. */
function company(numWords: number, idle: readonly Keywords[], random: Random): Part {
  return random.integer(2) === 0
    ? declarativePart(pick(SKILLS, random), numWords, "train", random)
    : neutralPart(idle, numWords, "train", random);
}

/** `numExamples` different training examples of a task: half with the task's part alone, half with another part. No other task's keywords
 *  occur. `idle`: the words without a skill for the other parts. */
export function trainingExamples(of: DemoTask, numExamples: number, seed: number, idle: readonly Keywords[] = IDLE_WORDS): Example[] {
  const random = seededRandom(derivedSeed("task", of.name, "train", seed));
  const made = new Map<string, Example>();
  while (made.size < numExamples) {
    const own = of.parts.map((rule) => part(rule, pick([1, 2, 3], random), "train", random));
    const beside = () => company(pick([1, 2, 3], random), idle, random);
    const form = random.integer(4);
    const next = example(form === 0 ? [beside(), ...own] : form === 1 ? [...own, beside()] : own);
    made.set(next.input, next);
  }
  return [...made.values()];
}

/** `numExamples` different examples for validating or testing a task: lists of two or three words, in compounds of two. */
export function examples(of: DemoTask, split: Exclude<Split, "train">, numExamples: number, seed: number): Example[] {
  const random = seededRandom(derivedSeed("task", of.name, split, seed));
  const lengths = of.parts.length > 1 ? [2] : [2, 3];
  const made = new Map<string, Example>();
  while (made.size < numExamples) {
    const next = example(of.parts.map((rule) => part(rule, pick(lengths, random), split, random)));
    made.set(next.input, next);
  }
  return [...made.values()];
}
