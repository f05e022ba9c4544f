/** @file The instruction words of the demo. The base model has seen them, but not with a skill.
 *
 *  Each taught skill has five keywords with the same meaning: three for training the expert, one for development (choosing the
 *  recipe), one held out for the final table. A keyword is used in a carrier phrase: "tell me the infant of". */

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

/** Groups of synonyms that mean no skill. The experts' training texts contain them in parts that the expert must not change. */
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

/** The carrier phrases; the star stands for the keyword. */
export const CARRIERS = ["give the * of", "tell me the * of", "what is the * of", "write the * for", "please say the * for"] as const;

/** A carrier phrase around `keyword`. */
export function instruction(keyword: string, random: Random): string {
  return pick(CARRIERS, random).replace("*", keyword);
}
