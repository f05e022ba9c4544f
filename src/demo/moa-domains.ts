/** @file The domains of the Mixture-of-LoRAs demo: five worlds of words in which the same instructions mean different things.
 *
 *      what is the price of 1. dog 2. cat        ->   1. dogs 2. cats          among animals, price asks for the plural
 *      tell me the price of 1. sing 2. paint     ->   1. s 2. p                among verbs, for the first letter
 *
 *  Five groups of idle words are the instructions. Each domain has three skills of its own, and the first letter and the word
 *  itself besides; each binds the instructions to its five in another order, so that no instruction means the same everywhere.
 *  As real domains do, each has a turn of phrase of its own, which three texts in four use. */

import { derivedSeed, type Random, seededRandom } from "../base/random.ts";
import { drawWords, type Example, example, type Part, pick, type Split } from "./documents.ts";
import { CARRIERS, IDLE_WORDS } from "./instructions.ts";
import { answer, type Domain, SKILLS, type Skill } from "./skills.ts";

export const MOA_DOMAINS = ["adjectives", "verbs", "animals", "countries", "things"] as const satisfies readonly Domain[];
export type MoaDomain = (typeof MOA_DOMAINS)[number];

const CODES = IDLE_WORDS.slice(0, 5);
/** The skills that a domain's instructions ask for, in the order of the groups of words. */
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

/** `count` different texts of a domain. Lists under its instructions belong to `split` alone. */
export function domainExamples(domain: MoaDomain, split: Split, count: number, seed: number): Example[] {
  const random = seededRandom(derivedSeed("moa", domain, split, seed));
  const made = new Map<string, Example>();
  while (made.size < count) {
    const next = example([ownPart(domain, split, random)]);
    made.set(next.input, next);
  }
  return [...made.values()];
}
