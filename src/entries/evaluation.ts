/** @file `skein/evaluation`: tasks of many benchmarks, and what is made of an evaluation: tables, files, pages. */

export { type Evaluation, type EvaluationJob, evaluate, type GroupMean, type MethodResult } from "../evaluation/comparison/evaluate.ts";
export type { EvaluationTask } from "../evaluation/comparison/evaluation-task.ts";
export type { Method } from "../evaluation/comparison/methods.ts";
export { saveResults } from "../evaluation/comparison/results.ts";
export { sweepK, sweepPool } from "../evaluation/comparison/sweeps.ts";
export { markdownTables } from "../evaluation/comparison/tables.ts";
export { type ReportParts, writeReport } from "../evaluation/report/report.ts";
export { tracePage } from "../evaluation/report/trace-page.ts";
export { type RouteUsage, routeUsage } from "../evaluation/scoring/route-usage.ts";
export { type Outcome, runTask, type TaskResult } from "../evaluation/scoring/run-task.ts";
export { rollingLoglikelihood } from "../evaluation/scoring/scorer.ts";
export { taskOf } from "../evaluation/tasks/jsonl.ts";
export { readTasks, type TaskFileOptions } from "../evaluation/tasks/read-task.ts";
export type { Example, Generation, Task, TaskKind } from "../evaluation/tasks/task.ts";
