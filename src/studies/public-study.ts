/** @file The study on public data: every method over a real base and experts on real sets, one seed at a time.
 *
 *    main    every method on held-in sets, held-out sets and joined documents; k = 2, gates of 100 steps, all experts
 *    k       PHATGOOSE with k = 1, 2, 3
 *    gates   PHATGOOSE with gates of 10 to 300 steps
 *    pool    methods with the first experts of a random order, on held-out sets
 *    use     the share of routing weight of each expert on each task, under PHATGOOSE
 *
 *  A number is a set's mean loss per answer token, the end of sequence included, in nats. Sets with choices have an accuracy too: the
 *  best choice by the mean log-probability of its tokens. Results are kept by method and task, so a stopped study continues. */

import { join } from "node:path";
import type { Expert } from "../adapters/expert.ts";
import { derivedSeed, seededRandom, shuffled } from "../base/random.ts";
import { type Evaluation, evaluate } from "../evaluation/comparison/evaluate.ts";
import type { EvaluationTask } from "../evaluation/comparison/evaluation-task.ts";
import { expertOfRow } from "../evaluation/comparison/expert-row.ts";
import { contentHash, type Method } from "../evaluation/comparison/methods.ts";
import { routeUsage } from "../evaluation/scoring/route-usage.ts";
import { type Model, withWoven } from "../inference/model.ts";
import { RoutedPool } from "../inference/routed-pool.ts";
import { routerNamed } from "../methods/registry.ts";
import { gated, type PublicBaselines, type PublicJob, publicBaselines, publicExperts } from "./public-experts.ts";
import { type Measure, measured } from "./public-measures.ts";
import { publicTasks, type TaskSizes } from "./public-tasks.ts";

const USUAL = { k: 2, gates: 100 } as const;
const KS = [1, 2, 3] as const;
const LORAHUB = { kind: "lorahub", seed: 42, evaluations: 20 } as const;

export interface PublicStudyJob extends PublicJob {
  readonly sizes: TaskSizes;
  /** Numbers of experts in the growing pool, besides all of them. */
  readonly poolSizes: readonly number[];
  /** Called with what is measured before the baselines, whose training takes longest, are trained. */
  readonly onMeasured?: (found: PublicSeed) => Promise<void>;
}
/** By method, then task. */
export type Measures = Readonly<Record<string, Readonly<Record<string, Measure>>>>;
export interface PublicSeed {
  readonly seed: number;
  readonly tasks: readonly { readonly name: string; readonly group: string; readonly rows: number }[];
  /** Experts in the order in which pools grow. */
  readonly order: readonly string[];
  readonly experts: Measures;
  readonly main: Measures;
  /** By k, gate steps and number of experts. */
  readonly k: Readonly<Record<string, Measures>>;
  readonly gates: Readonly<Record<string, Measures>>;
  readonly pool: Readonly<Record<string, Measures>>;
  /** By task: each expert's share, in the order of `experts`. */
  readonly use: Readonly<Record<string, readonly number[]>>;
}

/** Runs one seed, or its unfinished parts. */
export async function publicSeed(job: PublicStudyJob): Promise<PublicSeed> {
  const { seed, sizes, poolSizes, training, onPart } = job;
  const trained = await publicExperts(job);
  const tasks = await publicTasks(job.data, seed, sizes);
  const heldOut = tasks.filter(({ group }) => group === "held out");
  const usual = gated(trained, usualGates(training.gateSteps));
  const run = runner(job);
  const main = await run("every method", usual, [...mainMethods(), ...kMethods()], tasks);
  const gates: Record<string, Measures> = {};
  for (const steps of training.gateSteps) {
    const name = `gates of ${steps} steps`;
    gates[steps] = await run(
      name,
      gated(trained, steps),
      [{ kind: "router", router: "phatgoose", topK: USUAL.k, name: "phatgoose" }],
      tasks,
    );
  }
  const order = shuffled(usual, seededRandom(derivedSeed(seed, "pool order")));
  const pool: Record<string, Measures> = {};
  for (const count of poolSizes.filter((size) => size < usual.length)) {
    pool[count] = await run(`pool of ${count}`, order.slice(0, count), poolMethods(count), heldOut);
  }
  const experts = Object.fromEntries(
    Object.entries(main).flatMap(([name, own]) => {
      const expert = expertOfRow(name);
      return expert === undefined ? [] : [[expert, own]];
    }),
  );
  onPart?.("who serves what");
  const found: PublicSeed = {
    seed,
    tasks: tasks.map(({ name, group = "", examples }) => ({ name, group, rows: examples.length })),
    order: order.map(({ name }) => name),
    experts,
    main: withChosen(main, experts, tasks),
    k: Object.fromEntries(KS.map((k) => [k, { phatgoose: main[kName(k)]! }])),
    gates,
    pool,
    use: await useOf(job.model, job, usual, tasks),
  };
  await job.onMeasured?.(found);
  const baselines = await run("baselines", usual, baselineMethods(await publicBaselines(job)), tasks);
  return { ...found, main: { ...found.main, ...baselines } };
}

const usualGates = (gateSteps: readonly number[]) => (gateSteps.includes(USUAL.gates) ? USUAL.gates : gateSteps.at(-1)!);
const kName = (k: number) => `phatgoose k=${k}`;

const mainMethods = (): Method[] => [
  { kind: "base" },
  { kind: "experts" },
  { kind: "merged" },
  { kind: "merged", merge: { kind: "ties", density: 0.2 } },
  ...["uniform", "retrieval", "smear"].map((router): Method => ({ kind: "router", router })),
  ...["average-activation", "arrow", "spectr"].map((router): Method => ({ kind: "router", router, topK: USUAL.k, name: router })),
  { kind: "router", router: "arrow-peft" },
  LORAHUB,
];
const baselineMethods = ({ multitask, multitaskWide, moa }: PublicBaselines): Method[] => [
  { kind: "adapter", name: "multitask", adapter: multitask },
  { kind: "adapter", name: "multitask, 4 x rank", adapter: multitaskWide },
  { kind: "overlay", name: "moa", woven: () => moa, state: contentHash(moa.feeds) },
];
const kMethods = () => KS.map((k): Method => ({ kind: "router", router: "phatgoose", topK: k, name: kName(k) }));
const poolMethods = (count: number): Method[] => [
  { kind: "merged" },
  { kind: "router", router: "uniform" },
  { kind: "router", router: "retrieval" },
  ...["phatgoose", "average-activation", "arrow", "spectr"].map(
    (router): Method => ({ kind: "router", router, topK: Math.min(USUAL.k, count), name: router }),
  ),
];

function runner({ model, tokenizer, out, signal, onPart }: PublicStudyJob) {
  return async (
    what: string,
    experts: readonly Expert[],
    methods: readonly Method[],
    tasks: readonly EvaluationTask[],
  ): Promise<Measures> => {
    let last = "";
    const onProgress = ({ method }: { readonly method: string }) => {
      if (method !== last) onPart?.(`${what}: ${method}`);
      last = method;
    };
    const cache = join(out, "results");
    const job = { model, tokenizer, tasks, experts, methods, batchSize: 32, cache, onProgress, ...(signal && { signal }) };
    return measuresOf(await evaluate(job));
  };
}

function measuresOf({ methods }: Evaluation): Measures {
  return Object.fromEntries(
    methods.map(({ name, tasks }) => [name, Object.fromEntries(Object.entries(tasks).map(([task, result]) => [task, measured(result)]))]),
  );
}

/** The methods, and two choices that use test labels: the best single expert of each group, and the best expert of each task (oracle). */
function withChosen(all: Measures, experts: Measures, tasks: readonly EvaluationTask[]): Measures {
  const best = (of: readonly EvaluationTask[]) => {
    const total = (own: Readonly<Record<string, Measure>>) => of.reduce((sum, { name }) => sum + own[name]!.loss, 0);
    return Object.values(experts).reduce((one, other) => (total(other) < total(one) ? other : one));
  };
  const kNames = KS.map(kName);
  return {
    ...Object.fromEntries(Object.entries(all).filter(([name]) => expertOfRow(name) === undefined && !kNames.includes(name))),
    phatgoose: all[kName(USUAL.k)]!,
    "best individual": Object.fromEntries(
      tasks.map((task) => [task.name, best(tasks.filter(({ group }) => group === task.group))[task.name]!]),
    ),
    oracle: Object.fromEntries(tasks.map((task) => [task.name, best([task])[task.name]!])),
  };
}

/** Each expert's mean share of the routing weight over the modules, by task. */
async function useOf(model: Model, { tokenizer }: PublicStudyJob, experts: readonly Expert[], tasks: readonly EvaluationTask[]) {
  const pool = new RoutedPool(experts, model.base.modules, { router: routerNamed("phatgoose", { topK: USUAL.k }) });
  const { tasks: used } = await routeUsage(withWoven(model, pool), tokenizer, tasks, { examples: 8 });
  return Object.fromEntries(
    used.map(({ task, modules }) => {
      const share = experts.map((_, z) => modules.reduce((sum, { use }) => sum + use[z]!, 0) / modules.length);
      return [task, share.map((value) => Number(value.toFixed(4)))];
    }),
  );
}
