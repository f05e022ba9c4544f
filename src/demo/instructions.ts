/** @file The instruction words of the demo, which the base model has seen but never bound to a skill.
 *
 *  Each taught skill has five keywords that mean the same. Three train the expert, one is for development (choosing the
 *  recipe), one is held out for the final table. A keyword comes in a carrier phrase: "tell me the infant of". */

import type { Random } from "../base/random.ts";
import { pick } from "./documents.ts";

/** The keywords of a skill: [train, train, train, development, held out]. */
export type Keywords = readonly [string, string, string, string, string];

/** Skills that an expert is trained for, with their keywords. */
export const KEYWORDS = {
  opposite: ["contrary", "antonym", "converse", "inverse", "counterpart"],
  more: ["comparative", "heightened", "raised", "boosted", "increased"],
  past: ["yesterday", "bygone", "former", "historic", "ago"],
  doer: ["agent", "person", "performer", "actor", "human"],
  plural: ["many", "several", "multiple", "numerous", "various"],
  young: ["baby", "infant", "newborn", "junior", "offspring"],
  capital: ["metropolis", "seat", "city", "hub", "headquarters"],
  language: ["tongue", "speech", "idiom", "dialect", "parlance"],
  next: ["successor", "following", "after", "subsequent", "upcoming"],
  previous: ["predecessor", "preceding", "prior", "foregoing", "before"],
  letter: ["initial", "opening", "beginning", "start", "head"],
  colour: ["hue", "tint", "shade", "tone", "pigment"],
} as const satisfies Record<string, Keywords>;

/** Words alike that ask for no skill anywhere; the experts' training texts use them as company to be left alone. */
export const IDLE_WORDS: readonly Keywords[] = [
  ["flavour", "taste", "savour", "aroma", "spice"],
  ["mood", "feeling", "emotion", "temper", "spirit"],
  ["shape", "outline", "contour", "silhouette", "figure"],
  ["price", "cost", "fee", "charge", "tariff"],
  ["weight", "mass", "heaviness", "load", "burden"],
  ["rhyme", "verse", "poem", "stanza", "ballad"],
  ["owner", "holder", "possessor", "proprietor", "landlord"],
  ["purpose", "aim", "goal", "intent", "objective"],
];

export type TaughtSkill = keyof typeof KEYWORDS;

export const TAUGHT_SKILLS = Object.keys(KEYWORDS) as readonly TaughtSkill[];

/** The carrier phrases; the star is the keyword. */
export const CARRIERS = ["give the * of", "tell me the * of", "what is the * of", "write the * for", "please say the * for"] as const;

/** A carrier phrase around `keyword`. */
export function instruction(keyword: string, random: Random): string {
  return pick(CARRIERS, random).replace("*", keyword);
}
