/** @file The demo from end to end: trains experts and gates, makes a pool, compares methods, and shows the experts of each token. */

import { join } from "node:path";
import type { Adapter } from "../adapters/adapter.ts";
import type { Expert } from "../adapters/expert.ts";
import { DEMO_BASE, evaluationTask } from "../demo/evaluation-task.ts";
import { examples, HELD_IN_TASKS, HELD_OUT_TASKS } from "../demo/tasks.ts";
import type { Chart } from "../evaluation/comparison/chart.ts";
import { type Evaluation, type EvaluationProgress, evaluate } from "../evaluation/comparison/evaluate.ts";
import type { Method } from "../evaluation/comparison/methods.ts";
import { readCurves } from "../evaluation/report/read-curves.ts";
import { type RouteUsage, routeUsage } from "../evaluation/scoring/route-usage.ts";
import { type Trace, trace } from "../evaluation/scoring/trace.ts";
import type { FarmEvent } from "../fleet/crew.ts";
import { type Model, withWoven } from "../inference/model.ts";
import { openExperts } from "../inference/open.ts";
import { RoutedPool } from "../inference/routed-pool.ts";
import { loadModel } from "../library/model.ts";
import { phatgoose } from "../methods/phatgoose.ts";
import { loadAdapter } from "../storage/peft.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { demoMultitask, demoPool } from "./demo-experts.ts";
import type { LoraSetting } from "./lora.ts";

/** Routers compared, all on the same pool. */
const ROUTERS = ["phatgoose", "average-activation", "arrow", "arrow-peft", "spectr", "smear", "retrieval", "uniform"] as const;

export interface DemoOptions {
  /** Folder of the demo's files. */
  readonly out: string;
  readonly seed?: number;
  /** Test examples of each task. */
  readonly numTests?: number;
  readonly signal?: AbortSignal;
  /** Called for each job of the farm that makes the pool. */
  readonly onFarm?: (event: FarmEvent) => void;
  readonly onPart?: LoraSetting["onPart"];
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

/** Runs the demo. After a stop it continues with the unfinished parts.
 *  @throws TrainingError when an expert fails, StoppedError when the signal aborts. */
export async function runDemo(options: DemoOptions): Promise<DemoResult> {
  const { out, seed = 1, signal, onFarm, onPart } = options;
  const start = performance.now();
  const stopping = signal ? { signal } : {};
  const pool = await demoPool(out, seed, { ...stopping, ...(onFarm ? { onEvent: onFarm } : {}) });
  await using model = await loadModel(DEMO_BASE);
  const tokenizer = await model.tokenizer();
  const setting = { model, tokenizer, baseName: "skein/demo-base", out, seed, ...stopping, ...(onPart ? { onPart } : {}) };
  const multitask = await loadAdapter(await demoMultitask(setting), model.base.modules);
  const middle = performance.now();
  const experts = await openExperts(model, pool);
  const evaluation = await compare(model, tokenizer, experts, multitask, options);
  const seconds = { training: (middle - start) / 1000, evaluation: (performance.now() - middle) / 1000 };
  return {
    evaluation,
    ...(await looksInside(model, tokenizer, experts, evaluation, seed)),
    curves: await readCurves(join(out, "runs")),
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
  const { out, seed = 1, numTests = 100, signal, onEvaluation } = options;
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
    tasks: [...HELD_IN_TASKS, ...HELD_OUT_TASKS].map((task) => evaluationTask(task, numTests, seed)),
    experts,
    methods,
    batchSize: 128,
    cache: join(out, "results"),
    ...(signal ? { signal } : {}),
    ...(onEvaluation ? { onProgress: onEvaluation } : {}),
  });
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
