/** @file For tests of tables and reports: an evaluation with invented answers and metrics computed from them. */

import { seededRandom } from "../../base/random.ts";
import { measured } from "../scoring/task-metrics.ts";
import { taskOf } from "../tasks/jsonl.ts";
import { type Evaluation, type MethodResult, summarized } from "./evaluate.ts";
import type { EvaluationTask } from "./evaluation-task.ts";
import type { MethodKind } from "./methods.ts";

const EXPERTS = ["reverse", "sort", "capitals"];

function tasksOf(): EvaluationTask[] {
  const write = (name: string, group: string) => ({
    ...taskOf(
      name,
      Array.from({ length: 20 }, (_, i) => ({ input: `${name} <${i}> & co`, target: `word ${i}` })),
    ),
    group,
  });
  const choices = ["yes", "no", "may|be"];
  const choose = taskOf(
    "choose",
    Array.from({ length: 20 }, (_, i) => ({ input: `q ${i}`, target: choices[i % 3]!, choices, label: i % 3 })),
  );
  return [write("reverse", "held in"), write("sort", "held in"), { ...choose, group: "held out" }, write("reverse then sort", "held out")];
}

/** A method that is right with probability `skill`. */
function methodOf(name: string, kind: MethodKind, tasks: readonly EvaluationTask[], skill: number): MethodResult {
  const random = seededRandom(name.length + Math.round(skill * 1000));
  const results = tasks.map((task) => {
    const answered = task.examples.map((example) => {
      const isRight = random.next() < skill;
      if (!example.choices) return { example, answer: { text: isRight ? example.target : "<b>wrong</b>" } };
      const label = example.label ?? 0;
      const likely = isRight ? label : (label + 1) % example.choices.length;
      const choices = example.choices.map((_, c) => ({ sum: c === likely ? -1 : -2, tokens: 1, isGreedy: c === likely }));
      return { example, answer: { choices, label, labels: [label] } };
    });
    const { perExample, ...rest } = measured(task, answered);
    return [task.name, { ...rest, outcomes: answered.map(({ answer }, i) => ({ ...answer, values: perExample[i]! })) }] as const;
  });
  return { name, kind, ...summarized(tasks, Object.fromEntries(results)) };
}

/** Four tasks in two groups, three experts, and the usual methods. */
export function madeUpEvaluation(): Evaluation {
  const tasks = tasksOf();
  const methods = [
    methodOf("base", "base", tasks, 0.1),
    ...EXPERTS.map((name, i) => methodOf(`expert ${name}`, "experts", tasks, 0.2 + 0.15 * i)),
    methodOf("merged", "merged", tasks, 0.3),
    methodOf("multitask", "adapter", tasks, 0.6),
    { ...methodOf("oracle", "oracle", tasks, 0.95), chosen: Object.fromEntries(tasks.map(({ name }, i) => [name, EXPERTS[i % 3]!])) },
    methodOf("phatgoose", "router", tasks, 0.7),
  ];
  return { date: "2026-01-02T03:04:05.678Z", base: { path: "assets/base", fingerprint: "f".repeat(64) }, experts: EXPERTS, tasks, methods };
}
