/** @file The study: the demo's comparison with a larger pool and with sweeps over settings, one seed at a time.
 *
 *    main    every method on sixteen held-in and six held-out tasks; k = 2, gates of 100 steps, all sixteen experts
 *    k       routers with k = 1, 2, 3, 5, held-out tasks
 *    pool    methods with the first 4, 8, 12, 16 experts of a random order, held-out tasks
 *    gates   PHATGOOSE (and SMEAR, which uses the same gates) with gates of 0 to 300 steps, held-out tasks
 *
 *  Results are kept by method and task, so a stopped study continues. */

import { join } from "node:path";
import type { Expert, Gates } from "../adapters/expert.ts";
import { derivedSeed, seededRandom, shuffled } from "../base/random.ts";
import { DEMO_BASE, evaluationTask } from "../demo/evaluation-task.ts";
import { type Evaluation, evaluate } from "../evaluation/comparison/evaluate.ts";
import { expertOfRow, expertRow } from "../evaluation/comparison/expert-row.ts";
import type { Method } from "../evaluation/comparison/methods.ts";
import { loadModel } from "../library/model.ts";
import { loadAdapter } from "../storage/peft.ts";
import type { LoraSetting } from "./lora.ts";
import { type GateSteps, STUDY_SIZE, type StudySize, studyExperts } from "./study-experts.ts";
import { STUDY_HELD_IN, STUDY_HELD_OUT } from "./study-tasks.ts";

const BY_TOKEN = ["phatgoose", "average-activation", "arrow", "spectr"] as const;
export const STUDY_KS = [1, 2, 3, 5] as const;
export const STUDY_POOLS = [4, 8, 12, 16] as const;
const USUAL = { k: 2, gates: 100 } as const;

export interface StudyOptions {
  readonly out: string;
  readonly seed: number;
  /** Test examples of each held-in and held-out task. */
  readonly numTests?: { readonly heldIn: number; readonly heldOut: number };
  readonly size?: StudySize;
  readonly onPart?: LoraSetting["onPart"];
  /** Called when an evaluation begins. */
  readonly onEvaluation?: (what: string) => void;
}
/** Scores by method (or method and setting) and task. */
export type Scores = Readonly<Record<string, Readonly<Record<string, number>>>>;
export interface StudySeed {
  readonly seed: number;
  /** Experts in the order in which pools grow. */
  readonly order: readonly string[];
  readonly heldIn: readonly string[];
  readonly heldOut: readonly string[];
  readonly numTests: { readonly heldIn: number; readonly heldOut: number };
  readonly experts: Scores;
  readonly main: Scores;
  /** By router, then k. */
  readonly k: Readonly<Record<string, Scores>>;
  /** By method, then number of experts. */
  readonly pool: Readonly<Record<string, Scores>>;
  /** By router, then steps. */
  readonly gates: Readonly<Record<string, Scores>>;
}

/** Runs one seed of the study, or its unfinished parts. */
export async function studySeed(options: StudyOptions): Promise<StudySeed> {
  const { out, seed, numTests = { heldIn: 50, heldOut: 100 }, size = STUDY_SIZE, onPart, onEvaluation } = options;
  await using model = await loadModel(DEMO_BASE);
  const tokenizer = await model.tokenizer();
  const trained = await studyExperts({ model, tokenizer, baseName: "skein/demo-base", out, seed, ...(onPart && { onPart }) }, size);
  const heldOut = STUDY_HELD_OUT.map((task) => evaluationTask(task, numTests.heldOut, seed));
  const heldIn = STUDY_HELD_IN.map((task) => evaluationTask(task, numTests.heldIn, seed));
  const usual = gated(trained.experts, trained.gates.get(USUAL.gates));
  const run = async (what: string, experts: readonly Expert[], methods: readonly Method[], tasks = heldOut) => {
    onEvaluation?.(what);
    return evaluate({ model, tokenizer, tasks, experts, methods, batchSize: 128, cache: join(out, "results") });
  };
  const multitask = await loadAdapter(trained.multitask, model.base.modules);
  const main = await run(
    "main",
    usual,
    [...mainMethods(), { kind: "adapter", name: "multitask", adapter: multitask }],
    [...heldIn, ...heldOut],
  );
  const all = scoresOf(main);
  const byK = await sweep(STUDY_KS, async (k) => {
    if (k === USUAL.k) return all;
    return scoresOf(
      await run(
        `k=${k}`,
        usual,
        BY_TOKEN.map((router) => ({ kind: "router", router, topK: k, name: router })),
      ),
    );
  });
  const order = shuffled(usual, seededRandom(derivedSeed(seed, "pool order")));
  const byPool = await sweep(STUDY_POOLS, async (count) => {
    if (count === usual.length) return all;
    const members = order.slice(0, count);
    return { ...scoresOf(await run(`pool of ${count}`, members, poolMethods())), oracle: bestOf(all, members) };
  });
  const bySteps = await sweep(size.gateSteps, async (steps: GateSteps) => {
    if (steps === USUAL.gates) return all;
    return scoresOf(await run(`gates of ${steps} steps`, gated(trained.experts, trained.gates.get(steps)), gateMethods()));
  });
  const heldOutNames = heldOut.map(({ name }) => name);
  return {
    seed,
    order: order.map(({ name }) => name),
    heldIn: heldIn.map(({ name }) => name),
    heldOut: heldOutNames,
    numTests,
    experts: Object.fromEntries(
      Object.entries(all).flatMap(([row, own]) => (expertOfRow(row) === undefined ? [] : [[expertOfRow(row), own]])),
    ),
    main: Object.fromEntries(Object.entries(all).filter(([row]) => expertOfRow(row) === undefined)),
    k: turned(byK, [...BY_TOKEN], heldOutNames),
    pool: turned(byPool, ["oracle", ...namesOf(poolMethods())], heldOutNames),
    gates: turned(bySteps, namesOf(gateMethods()), heldOutNames),
  };
}

const routers = (): Method[] => [
  ...BY_TOKEN.map((router): Method => ({ kind: "router", router, topK: USUAL.k, name: router })),
  { kind: "router", router: "arrow-peft" },
  { kind: "router", router: "smear" },
  { kind: "router", router: "retrieval" },
];
const mainMethods = (): Method[] => [
  { kind: "base" },
  { kind: "experts" },
  { kind: "best_individual" },
  { kind: "oracle" },
  { kind: "merged" },
  { kind: "merged", merge: { kind: "ties", density: 0.2 } },
  { kind: "router", router: "uniform" },
  { kind: "lorahub", seed: 42 },
  ...routers(),
];
const poolMethods = (): Method[] => [{ kind: "merged" }, { kind: "lorahub", seed: 42 }, ...routers()];
const gateMethods = (): Method[] => [
  { kind: "router", router: "phatgoose", topK: USUAL.k, name: "phatgoose" },
  { kind: "router", router: "smear" },
];
const namesOf = (methods: readonly Method[]) =>
  methods.map((method) => method.name ?? (method.kind === "router" && typeof method.router === "string" ? method.router : method.kind));

function gated(experts: readonly Expert[], gates: readonly Gates[] | undefined): readonly Expert[] {
  return gates ? experts.map((expert, i) => ({ ...expert, gates: gates[i]! })) : experts;
}

function scoresOf({ methods }: Evaluation): Scores {
  const scores = ({ tasks }: Evaluation["methods"][number]) =>
    Object.fromEntries(Object.entries(tasks).map(([task, { score }]) => [task, score.value]));
  return Object.fromEntries(methods.map((method) => [method.name, scores(method)]));
}

/** Each task's best score among these single experts. */
function bestOf(scores: Scores, experts: readonly Expert[]): Readonly<Record<string, number>> {
  const own = experts.map((expert) => scores[expertRow(expert)]!);
  return Object.fromEntries(Object.keys(own[0]!).map((task) => [task, Math.max(...own.map((of) => of[task]!))]));
}

async function sweep<T extends number>(values: readonly T[], run: (value: T) => Promise<Scores>): Promise<Map<T, Scores>> {
  const found = new Map<T, Scores>();
  for (const value of values) found.set(value, await run(value));
  return found;
}

/** Converts scores by setting and method to scores by method and setting, for these tasks only. */
function turned(settings: ReadonlyMap<number, Scores>, methods: readonly string[], tasks: readonly string[]): Record<string, Scores> {
  const only = (scores: Readonly<Record<string, number>>) => Object.fromEntries(tasks.map((task) => [task, scores[task]!]));
  const ofMethod = (method: string) =>
    Object.fromEntries([...settings].flatMap(([setting, scores]) => (scores[method] ? [[String(setting), only(scores[method])]] : [])));
  return Object.fromEntries(methods.map((method) => [method, ofMethod(method)]));
}
