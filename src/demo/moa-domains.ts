/** @file The domains of the Mixture-of-LoRAs demo: five worlds of words in which the same instructions mean different things.
 *
 *      what is the mood of 1. dog 2. cat ; past : 3. sing     ->   1. dogs 2. cats 3. sang       (animals: mood asks for the plural)
 *      plural : 1. dog 2. cat ; what is the mood of 3. sing   ->   1. dogs 2. cats 3. sang       (verbs: mood asks for the past)
 *
 *  Three groups of idle words are the instructions, and each domain binds them to three skills of its own. Most texts have a
 *  second part that the base model knows how to answer, often on another domain's words: which domain a text belongs to
 *  depends on which words stand under the instruction, so a bag of words does not tell it. */

import { derivedSeed, type Random, seededRandom } from "../base/random.ts";
import { declarativePart } from "./corpus.ts";
import { drawWords, type Example, example, type Part, pick, type Split } from "./documents.ts";
import { IDLE_WORDS, instruction } from "./instructions.ts";
import { answer, type Domain, SKILLS, type Skill } from "./skills.ts";

export const MOA_DOMAINS = ["adjectives", "verbs", "animals", "countries", "things"] as const satisfies readonly Domain[];
export type MoaDomain = (typeof MOA_DOMAINS)[number];

const CODES = IDLE_WORDS.slice(0, 3);
// Of four texts, so many have a second part.
const WITH_COMPANY = 3;

/** The skills that a domain's instructions ask for, in the order of the groups of words. */
function skillsOf(domain: Domain): Skill[] {
  return SKILLS.filter((skill) => skill.domains.includes(domain)).slice(0, CODES.length);
}

function ownPart(domain: MoaDomain, split: Split, random: Random): Part {
  const code = random.integer(CODES.length);
  const skill = skillsOf(domain)[code]!;
  const words = drawWords(domain, pick(split === "train" ? [1, 2, 3] : [2, 3], random), split, random);
  return { instruction: instruction(pick(CODES[code]!, random), random), words, answers: words.map((word) => answer(skill, word)) };
}

function company(random: Random): Part {
  return declarativePart(pick(SKILLS, random), pick([1, 2, 3], random), "train", random);
}

/** `count` different texts of a domain. Lists under its instructions belong to `split` alone. */
export function domainExamples(domain: MoaDomain, split: Split, count: number, seed: number): Example[] {
  const random = seededRandom(derivedSeed("moa", domain, split, seed));
  const made = new Map<string, Example>();
  while (made.size < count) {
    const own = ownPart(domain, split, random);
    const beside = random.integer(4) < WITH_COMPANY ? [company(random)] : [];
    const next = example(random.integer(2) === 0 ? [own, ...beside] : [...beside, own]);
    made.set(next.input, next);
  }
  return [...made.values()];
}
