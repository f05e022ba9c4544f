/** @file The demo from end to end: trains experts and gates, makes a pool, compares methods, and shows the experts of each token. */

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Adapter } from "../adapters/adapter.ts";
import type { Expert } from "../adapters/expert.ts";
import type { Chart } from "../evaluation/comparison/chart.ts";
import { type Evaluation, type EvaluationProgress, evaluate } from "../evaluation/comparison/evaluate.ts";
import type { EvaluationTask } from "../evaluation/comparison/evaluation-task.ts";
import type { Method } from "../evaluation/comparison/methods.ts";
import { readCurves } from "../evaluation/report/read-curves.ts";
import { type RouteUsage, routeUsage } from "../evaluation/scoring/route-usage.ts";
import { type Trace, trace } from "../evaluation/scoring/trace.ts";
import { type Model, withWoven } from "../inference/model.ts";
import { openExperts } from "../inference/open.ts";
import { RoutedPool } from "../inference/routed-pool.ts";
import { loadModel } from "../library/model.ts";
import { phatgoose } from "../methods/phatgoose.ts";
import { loadAdapter } from "../storage/peft.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { demoExperts, type ExpertsJob } from "./experts.ts";
import { type DemoTask, examples, HELD_IN_TASKS, HELD_OUT_TASKS } from "./tasks.ts";

/** Routers compared, all on the same pool. */
const ROUTERS = ["phatgoose", "average-activation", "arrow", "arrow-peft", "spectr", "smear", "retrieval", "uniform"] as const;

/** Labeled examples of each task for LoraHub; no other method uses them. */
const SHOTS = 5;

/** The base that ships with the package. */
export const DEMO_BASE = fileURLToPath(new URL("../../assets/demo-base", import.meta.url));

export interface DemoOptions {
  /** Folder of the demo's files. */
  readonly out: string;
  readonly seed?: number;
  /** Test examples of each task. */
  readonly numTests?: number;
  readonly base?: string;
  readonly tasks?: readonly DemoTask[];
  readonly signal?: AbortSignal;
  readonly onPart?: ExpertsJob["onPart"];
  readonly onEvaluation?: (progress: EvaluationProgress) => void;
}
export interface DemoResult {
  readonly evaluation: Evaluation;
  /** The experts of each token of one compound input and its answer. */
  readonly trace: Trace;
  readonly usage: readonly RouteUsage[];
  /** Learning curves of experts, gates and the multitask LoRA. */
  readonly curves: readonly Chart[];
  readonly seconds: { readonly training: number; readonly evaluation: number };
}

/** Runs the demo. After a stop it continues with the unfinished parts. */
export async function runDemo(options: DemoOptions): Promise<DemoResult> {
  const { out, seed = 1, base = DEMO_BASE, signal } = options;
  await using model = await loadModel(base);
  const tokenizer = await model.tokenizer();
  const start = performance.now();
  const { onPart } = options;
  const trained = await demoExperts({
    model,
    tokenizer,
    baseName: "skein/demo-base",
    out,
    seed,
    ...(signal ? { signal } : {}),
    ...(onPart ? { onPart } : {}),
  });
  const middle = performance.now();
  const experts = await openExperts(model, trained.pool);
  const evaluation = await compare(model, tokenizer, experts, await loadAdapter(trained.multitask, model.base.modules), options);
  const seconds = { training: (middle - start) / 1000, evaluation: (performance.now() - middle) / 1000 };
  return {
    evaluation,
    ...(await looksInside(model, tokenizer, experts, evaluation, seed)),
    curves: await readCurves(trained.runs),
    seconds,
  };
}

async function compare(
  model: Model,
  tokenizer: Tokenizer,
  experts: readonly Expert[],
  multitask: Adapter,
  options: DemoOptions,
): Promise<Evaluation> {
  const { out, seed = 1, numTests = 100, tasks = [...HELD_IN_TASKS, ...HELD_OUT_TASKS], signal, onEvaluation } = options;
  const methods: Method[] = [
    { kind: "base" },
    { kind: "experts" },
    { kind: "best_individual" },
    { kind: "oracle" },
    { kind: "merged" },
    { kind: "adapter", name: "multitask", adapter: multitask },
    ...ROUTERS.map((router) => ({ kind: "router" as const, router })),
    { kind: "lorahub" },
  ];
  return evaluate({
    model,
    tokenizer,
    tasks: tasks.map((task) => evaluationTask(task, numTests, seed)),
    experts,
    methods,
    batchSize: 128,
    cache: join(out, "results"),
    ...(signal ? { signal } : {}),
    ...(onEvaluation ? { onProgress: onEvaluation } : {}),
  });
}

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

/** With PHATGOOSE routing: the trace of the first compound test input, and which experts serve which tasks. */
async function looksInside(model: Model, tokenizer: Tokenizer, experts: readonly Expert[], { tasks }: Evaluation, seed: number) {
  const compound = HELD_OUT_TASKS.find(({ kind }) => kind === "compound")!;
  const [example] = examples(compound, "test", 1, seed);
  const routed = withWoven(model, new RoutedPool(experts, model.base.modules, { router: phatgoose() }));
  const traced = await trace(routed, tokenizer, example!.input, { maxNewTokens: 16 });
  const usage = [{ router: "phatgoose", ...(await routeUsage(routed, tokenizer, tasks)) }];
  return { trace: traced, usage };
}
