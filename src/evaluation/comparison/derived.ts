/** @file Methods that use one single expert for each example. Their results are taken from the experts' own results.
 *
 *    oracle            per task, the expert with the best score on it
 *    best individual   per group of tasks, the expert with the best mean score
 *    per query         per input, the expert that a function chose */

import { invariant } from "../../base/errors.ts";
import { mean } from "../metrics/bootstrap.ts";
import type { TaskResult } from "../scoring/run-task.ts";
import { measured } from "../scoring/task-metrics.ts";
import type { EvaluationTask } from "./evaluation-task.ts";
import type { Method } from "./methods.ts";

export interface ExpertResults {
  readonly name: string;
  readonly tasks: Readonly<Record<string, TaskResult>>;
}
export interface Derived {
  readonly tasks: Readonly<Record<string, TaskResult>>;
  readonly chosen?: Readonly<Record<string, string>>;
}

/** The results of a method that chooses among single experts. */
export async function derivedResults(
  method: Method,
  tasks: readonly EvaluationTask[],
  experts: readonly ExpertResults[],
): Promise<Derived> {
  if (method.kind === "per_query") return perQuery(method.choose, tasks, experts);
  invariant(method.kind === "oracle" || method.kind === "best_individual", `${method.kind} is not derived`);
  return method.kind === "oracle" ? oracle(tasks, experts) : bestIndividual(tasks, experts);
}

/** The expert with the best mean over these tasks; the first among equal ones. */
function bestOver(tasks: readonly EvaluationTask[], experts: readonly ExpertResults[]): ExpertResults {
  const score = (expert: ExpertResults) =>
    mean(
      tasks.map(({ name }) => {
        const { score: own, lowerIsBetter } = expert.tasks[name]!;
        return lowerIsBetter ? -own.value : own.value;
      }),
    );
  return experts.reduce((best, expert) => (score(expert) > score(best) ? expert : best));
}

function oracle(tasks: readonly EvaluationTask[], experts: readonly ExpertResults[]): Derived {
  const best = tasks.map((task) => [task.name, bestOver([task], experts)] as const);
  return {
    tasks: Object.fromEntries(best.map(([task, expert]) => [task, expert.tasks[task]!])),
    chosen: Object.fromEntries(best.map(([task, expert]) => [task, expert.name])),
  };
}

function bestIndividual(tasks: readonly EvaluationTask[], experts: readonly ExpertResults[]): Derived {
  const results: Record<string, TaskResult> = {};
  const chosen: Record<string, string> = {};
  for (const group of new Set(tasks.map((task) => task.group))) {
    const own = tasks.filter((task) => task.group === group);
    const best = bestOver(own, experts);
    chosen[group ?? "all tasks"] = best.name;
    for (const { name } of own) results[name] = best.tasks[name]!;
  }
  return { tasks: results, chosen };
}

async function perQuery(
  choose: (inputs: readonly string[]) => Promise<readonly number[]>,
  tasks: readonly EvaluationTask[],
  experts: readonly ExpertResults[],
): Promise<Derived> {
  const results: Record<string, TaskResult> = {};
  for (const task of tasks) {
    const picks = await choose(task.examples.map(({ input }) => input));
    const answers = task.examples.map((_, i) => {
      const expert = experts[picks[i] ?? -1];
      invariant(expert, `expert ${picks[i]} of ${experts.length} was chosen`);
      return expert.tasks[task.name]!.outcomes[i]!;
    });
    const { perExample, ...rest } = measured(
      task,
      task.examples.map((example, i) => ({ example, answer: answers[i]! })),
    );
    results[task.name] = { ...rest, outcomes: answers.map((answer, i) => ({ ...answer, values: perExample[i]! })) };
  }
  return { tasks: results };
}
