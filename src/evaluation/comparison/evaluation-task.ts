/** @file A task as a comparison of methods uses it. */

import type { Example, Task } from "../tasks/task.ts";

/** A task, and the group it is averaged in. */
export interface EvaluationTask extends Task {
  readonly group?: string;
  /** A few labeled examples apart from those it is measured on, for the methods that learn from such (lorahub). */
  readonly shots?: readonly Example[];
}

/** The groups of a set of tasks, in order of appearance. */
export function groupsOf(tasks: readonly EvaluationTask[]): string[] {
  return [...new Set(tasks.flatMap(({ group }) => group ?? []))];
}
