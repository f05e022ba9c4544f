/** @file The tasks of the study: the demo's twelve skills and four more to train experts on, and six tasks held out.
 *
 *  The four use groups of instruction words that mean no skill in the demo. The base model knows these words like the others, as
 *  synonyms. Held-out tasks are of the demo's three kinds, and none of them is in the demo. */

import type { Example } from "../demo/documents.ts";
import { IDLE_WORDS, KEYWORDS, type Keywords } from "../demo/instructions.ts";
import { type Domain, skillNamed } from "../demo/skills.ts";
import { type DemoTask, HELD_IN_TASKS, type PartRule, type TaskKind, trainingExamples } from "../demo/tasks.ts";

/** The four further skills; their groups of words are chosen arbitrarily. */
const MORE_KEYWORDS: Readonly<Record<string, Keywords>> = {
  most: IDLE_WORDS[4]!,
  doing: IDLE_WORDS[7]!,
  home: IDLE_WORDS[6]!,
  continent: IDLE_WORDS[2]!,
};
const STUDY_KEYWORDS: Readonly<Record<string, Keywords>> = { ...KEYWORDS, ...MORE_KEYWORDS };

/** The remaining groups without a skill. */
const STUDY_IDLE = IDLE_WORDS.filter((group) => !Object.values(MORE_KEYWORDS).includes(group));

const further = Object.keys(MORE_KEYWORDS).map((skill) => held("held-in", skill, [usual(skill)]));

/** The tasks that experts are trained on, one expert each: sixteen. */
export const STUDY_HELD_IN: readonly DemoTask[] = [...HELD_IN_TASKS, ...further];

/** Six tasks that no expert is trained on. */
export const STUDY_HELD_OUT: readonly DemoTask[] = [
  newWords("doer"),
  newWords("home"),
  newDomain("letter", "numbers"),
  compound("most", "young"),
  compound("continent", "past"),
  compound("doing", "colour"),
];

/** Training examples of a task of the study. */
export function studyExamples(task: DemoTask, count: number, seed: number): Example[] {
  return trainingExamples(task, count, seed, STUDY_IDLE);
}

function held(kind: TaskKind, name: string, parts: readonly PartRule[]): DemoTask {
  return { name, kind, skills: parts.map(({ skill }) => skill), parts };
}
function usual(skill: string): PartRule {
  const known = HELD_IN_TASKS.find((task) => task.name === skill)?.parts[0];
  return known ?? { skill, domains: skillNamed(skill).domains, keywords: STUDY_KEYWORDS[skill]!.slice(0, 3) };
}
function newWords(skill: string): DemoTask {
  return held("new words", `${skill}-new-words`, [{ ...usual(skill), keywords: [STUDY_KEYWORDS[skill]![4]] }]);
}
function newDomain(skill: string, domain: Domain): DemoTask {
  return held("new domain", `${skill}-${domain}`, [{ ...usual(skill), domains: [domain] }]);
}
function compound(first: string, second: string): DemoTask {
  return held("compound", `${first}+${second}`, [usual(first), usual(second)]);
}
