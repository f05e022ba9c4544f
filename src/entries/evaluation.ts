/** @file `skein/evaluation`: tasks of many benchmarks, and evaluation results as tables, files and pages. */

export type { Chart, Point, Series } from "../evaluation/comparison/chart.ts";
export { type Evaluation, type EvaluationJob, evaluate, type GroupMean, type MethodResult } from "../evaluation/comparison/evaluate.ts";
export type { EvaluationTask } from "../evaluation/comparison/evaluation-task.ts";
export type { Method, MethodKind } from "../evaluation/comparison/methods.ts";
export {
  type PoolCluster,
  type PoolMap,
  type PoolMapOptions,
  poolMap,
  type Similarities,
  type SimilarityKind,
} from "../evaluation/comparison/pool-map.ts";
export { saveResults } from "../evaluation/comparison/results.ts";
export { sweepK, sweepPool } from "../evaluation/comparison/sweeps.ts";
export { markdownTables } from "../evaluation/comparison/tables.ts";
export { poolPage } from "../evaluation/report/pool-page.ts";
export { type ReportParts, writeReport } from "../evaluation/report/report.ts";
export { tracePage } from "../evaluation/report/trace-page.ts";
export { type ModuleUse, type RouteUsage, routeUsage, type TaskUse, type UsageOptions } from "../evaluation/scoring/route-usage.ts";
export { type Outcome, runTask, type TaskResult } from "../evaluation/scoring/run-task.ts";
export type { Likelihood, ScorerOptions } from "../evaluation/scoring/score-tokens.ts";
export { rollingLoglikelihood } from "../evaluation/scoring/scorer.ts";
export type { Answer, Measured, MetricValue } from "../evaluation/scoring/task-metrics.ts";
export type { FilterPipeline, TextFilter } from "../evaluation/tasks/filters.ts";
export type { DataSource } from "../evaluation/tasks/hub-data.ts";
export { taskOf } from "../evaluation/tasks/jsonl.ts";
export { readTasks, type TaskFileOptions } from "../evaluation/tasks/read-task.ts";
export type { Example, Generation, Task, TaskKind } from "../evaluation/tasks/task.ts";
export { type Probe, type ProbedExpert, type ProbeOptions, probe } from "../library/probe.ts";
