/** @file A task in a comparison of methods. */

import type { Example, Task } from "../tasks/task.ts";

/** A task, and the group of its mean. */
export interface EvaluationTask extends Task {
  readonly group?: string;
  /** A few labeled examples, separate from the evaluated ones, for methods that learn from them (lorahub). */
  readonly shots?: readonly Example[];
}

/** The groups of a set of tasks, in order of appearance. */
export function groupsOf(tasks: readonly EvaluationTask[]): string[] {
  return [...new Set(tasks.flatMap(({ group }) => group ?? []))];
}
