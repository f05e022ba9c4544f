/** @file The tasks of the study on public data, read from its small variant (public-data.ts).
 *
 *    held in     test rows of the sets that experts learn from
 *    held out    sets that no expert learns from; five of their rows are LoraHub's labeled examples
 *    joined      documents that join two tasks: a row of one set with its answer, then a row of another set, whose answer counts */

import { derivedSeed, seededRandom, shuffled } from "../base/random.ts";
import type { EvaluationTask } from "../evaluation/comparison/evaluation-task.ts";
import type { Example, Task } from "../evaluation/tasks/task.ts";
import { expertRows, heldOutRows } from "./public-files.ts";
import { PUBLIC_EXPERTS, PUBLIC_HELD_OUT, type PublicRow } from "./public-sets.ts";

export const GROUPS = ["held in", "held out", "joined"] as const;
export type Group = (typeof GROUPS)[number];

/** Test rows of each task, by its group, and how many documents' kinds are joined. */
export interface TaskSizes {
  readonly heldIn: number;
  readonly heldOut: number;
  readonly joined: number;
  readonly numJoined: number;
  /** The first sets that experts learn from, and the first that are held out; all by default. */
  readonly numSets?: number;
  readonly numHeldOut?: number;
}
const NUM_SHOTS = 5; // LoraHub's, in its paper

/** All tasks for one seed, which chooses the rows and the pairs. `data`: the folder of the small variant. */
export async function publicTasks(data: string, seed: number, sizes: TaskSizes): Promise<EvaluationTask[]> {
  const test = new Map<string, readonly PublicRow[]>();
  for (const set of PUBLIC_EXPERTS.slice(0, sizes.numSets)) test.set(set.name, chosen(await expertRows(data, set, "test"), seed, set.name));
  const heldIn = [...test].map(([name, rows]) => setTask(name, "held in", rows.slice(0, sizes.heldIn), rows.slice(-NUM_SHOTS)));
  const heldOut: EvaluationTask[] = [];
  for (const { name } of PUBLIC_HELD_OUT.slice(0, sizes.numHeldOut)) {
    const rows = chosen(await heldOutRows(data, name), seed, name);
    heldOut.push(setTask(name, "held out", rows.slice(NUM_SHOTS, NUM_SHOTS + sizes.heldOut), rows.slice(0, NUM_SHOTS)));
  }
  return [...heldIn, ...heldOut, ...joinedTasks(test, seed, sizes)];
}

function joinedTasks(test: ReadonlyMap<string, readonly PublicRow[]>, seed: number, { joined, numJoined }: TaskSizes): EvaluationTask[] {
  const names = shuffled([...test.keys()], seededRandom(derivedSeed(seed, "joined")));
  return Array.from({ length: numJoined }, (_, i) => {
    const [first, second] = [names[(2 * i) % names.length]!, names[(2 * i + 1) % names.length]!];
    const [before, after] = [test.get(first)!, test.get(second)!];
    const rows = after.map((row, at) => {
      const { input, target } = before[at % before.length]!;
      return { ...row, input: `${asked(input)}${target}\n\n${row.input}` };
    });
    return setTask(`${first}+${second}`, "joined", rows.slice(0, joined), rows.slice(-NUM_SHOTS));
  });
}

/** An input as the model reads it: the answer begins on a new line. */
export const asked = (input: string) => `${input}\n`;

function chosen(rows: readonly PublicRow[], seed: number, name: string): readonly PublicRow[] {
  return shuffled(rows, seededRandom(derivedSeed(seed, "rows", name)));
}

/** Rows of one set as a task: multiple choice where all have choices, else the likelihood of the answer. */
export function setTask(name: string, group: string, rows: readonly PublicRow[], shots: readonly PublicRow[] = []): EvaluationTask {
  const hasChoices = rows.every(({ choices }) => choices !== undefined);
  const kind = hasChoices ? { kind: "multiple_choice", metrics: ["accuracy"] } : { kind: "loglikelihood", metrics: ["acc"] };
  return {
    name,
    group,
    ...(kind as Pick<Task, "kind" | "metrics">),
    choiceScore: "token_mean",
    targetDelimiter: "",
    examples: rows.map((row) => exampleOf(row, hasChoices)),
    shots: shots.map((row) => exampleOf(row, hasChoices)),
  };
}

function exampleOf({ input, target, choices }: PublicRow, hasChoices: boolean): Example {
  return { input: asked(input), target, ...(hasChoices && choices && { choices, label: choices.indexOf(target) }) };
}
