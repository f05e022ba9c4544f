/** @file The domains of the Mixture-of-LoRAs demo: five sets of words. The same instruction means a different skill in each of them.
 *
 *      what is the price of 1. dog 2. cat        ->   1. dogs 2. cats          for animals, price means the plural
 *      tell me the price of 1. sing 2. paint     ->   1. s 2. p                for verbs, the first letter
 *
 *  The instructions are five groups of words without a skill. Each domain has five skills: three of its own, the first letter, and the
 *  word itself. Each domain assigns the instructions to its skills in a different order, so no instruction means the same everywhere.
 *  Each domain also has its own phrase, which three of four texts use. */

import { derivedSeed, type Random, seededRandom } from "../base/random.ts";
import { drawWords, type Example, example, type Part, pick, type Split } from "./documents.ts";
import { CARRIERS, IDLE_WORDS } from "./instructions.ts";
import { answer, type Domain, SKILLS, type Skill } from "./skills.ts";

export const MOA_DOMAINS = ["adjectives", "verbs", "animals", "countries", "things"] as const satisfies readonly Domain[];
export type MoaDomain = (typeof MOA_DOMAINS)[number];

const CODES = IDLE_WORDS.slice(0, 5);
/** The skills of a domain's instructions, in the order of the groups of words. */
function skillsOf(domain: MoaDomain): Skill[] {
  const own = SKILLS.filter((skill) => skill.domains.includes(domain));
  return CODES.map((_, i) => own[(i + MOA_DOMAINS.indexOf(domain)) % own.length]!);
}

function phrase(domain: MoaDomain, random: Random): string {
  return random.integer(4) > 0 ? CARRIERS[MOA_DOMAINS.indexOf(domain)]! : pick(CARRIERS, random);
}

function ownPart(domain: MoaDomain, split: Split, random: Random): Part {
  const code = random.integer(CODES.length);
  const skill = skillsOf(domain)[code]!;
  const words = drawWords(domain, pick(split === "train" ? [1, 2, 3] : [2, 3], random), split, random);
  return {
    instruction: phrase(domain, random).replace("*", pick(CODES[code]!, random)),
    words,
    answers: words.map((word) => answer(skill, word)),
  };
}

/** `count` different texts of a domain. Lists with its instructions are only of `split`. */
export function domainExamples(domain: MoaDomain, split: Split, count: number, seed: number): Example[] {
  const random = seededRandom(derivedSeed("moa", domain, split, seed));
  const made = new Map<string, Example>();
  while (made.size < count) {
    const next = example([ownPart(domain, split, random)]);
    made.set(next.input, next);
  }
  return [...made.values()];
}
