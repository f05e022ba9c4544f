/** @file The demo's base, and its tasks as an evaluation runs them. */

import { fileURLToPath } from "node:url";
import type { EvaluationTask } from "../evaluation/comparison/evaluation-task.ts";
import { type DemoTask, examples } from "./tasks.ts";

/** The base that ships with the package. */
export const DEMO_BASE = fileURLToPath(new URL("../../assets/demo-base", import.meta.url));

/** Labeled examples of each task for LoraHub; no other method uses them. */
const SHOTS = 5;

/** A demo task for the evaluation: generation, compared by exact match. */
export function evaluationTask(task: DemoTask, numTests: number, seed: number): EvaluationTask {
  return {
    name: task.name,
    group: task.kind === "held-in" ? "held-in" : task.kind === "compound" ? "held-out: compound" : "held-out: new words or domain",
    kind: "generate_until",
    examples: examples(task, "test", numTests, seed),
    shots: examples(task, "validation", SHOTS, seed),
    metrics: ["exact_match"],
    choiceScore: "token_mean",
    targetDelimiter: "",
    generation: { until: [], maxTokens: 16 },
  };
}
