/** @file Why PHATGOOSE is where it is on the public data: its settings compared on development rows, the validation parts of the experts' sets.
 *  No held-out set is read.
 *
 *    own in       every expert is in the pool, the set's own too
 *    own out      the set's own expert is not in the pool, as for a set that nobody trained on
 *    one expert   the text is served by the one expert with the largest share of routing weight, over all its tokens and modules
 *    agreement    the share of tokens and modules at which the first expert is the set's own
 *
 *  A number is the mean over sets of the mean over rows of the loss per answer token, in nats. */

import { join } from "node:path";
import type { Expert } from "../adapters/expert.ts";
import { counted } from "../base/counted.ts";
import { derivedSeed } from "../base/random.ts";
import { evaluate } from "../evaluation/comparison/evaluate.ts";
import type { EvaluationTask } from "../evaluation/comparison/evaluation-task.ts";
import { expertOfRow } from "../evaluation/comparison/expert-row.ts";
import type { Method } from "../evaluation/comparison/methods.ts";
import { promptRoutes } from "../evaluation/scoring/prompt-routes.ts";
import type { Outcome } from "../evaluation/scoring/run-task.ts";
import { withWoven } from "../inference/model.ts";
import { RoutedPool } from "../inference/routed-pool.ts";
import { arrow } from "../methods/arrow.ts";
import { phatgoose } from "../methods/phatgoose.ts";
import { spectr } from "../methods/spectr.ts";
import type { Router } from "../routing/router.ts";
import { gateSnapshots } from "./gate-snapshots.ts";
import { decidedOnce } from "./one-decision.ts";
import { table } from "./over-seeds.ts";
import { gated, type PublicJob, pairs, publicExperts } from "./public-experts.ts";
import { expertRows } from "./public-files.ts";
import { meanOf } from "./public-measures.ts";
import { PUBLIC_EXPERTS } from "./public-sets.ts";
import { setTask } from "./public-tasks.ts";

export interface DevelopmentJob extends PublicJob {
  /** Development rows of each set. */
  readonly rows: number;
  /** Other learning rates of gates, besides the usual one. */
  readonly rates: readonly number[];
}
export interface Variant {
  readonly ownIn: number;
  readonly ownOut: number;
  readonly oneExpert?: number;
  readonly agreement?: number;
}
export interface Development {
  readonly seed: number;
  readonly sets: number;
  readonly variants: Readonly<Record<string, Variant>>;
  /** The agreement of each router by the module's path without its layer. */
  readonly modules: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

const CHOOSING: Readonly<Record<string, () => Router>> = { phatgoose: () => phatgoose(), arrow: () => arrow(), spectr: () => spectr() };

/** Trains what is missing and compares the variants. */
export async function gateDevelopment(job: DevelopmentJob): Promise<Development> {
  const { onPart, seed } = job;
  const trained = await publicExperts(job);
  const sets = PUBLIC_EXPERTS.slice(0, trained.experts.length);
  const tasks = await Promise.all(
    sets.map(async (set) => setTask(set.name, "development", (await expertRows(job.data, set, "validation")).slice(0, job.rows))),
  );
  const usual = gated(trained, job.training.gateSteps.at(-1)!);
  const alone = await lossesAlone(job, usual, tasks);
  const variants: Record<string, Variant> = {};
  const compare = async (name: string, experts: readonly Expert[], method: Method | MethodOf) => {
    onPart?.(name);
    const of = typeof method === "function" ? method : () => method;
    variants[name] = { ownIn: await lossOf(job, experts, tasks, of), ownOut: await lossWithoutOwn(job, experts, tasks, of) };
  };
  await compare("base", usual, { kind: "base" });
  for (const [name, method] of settings()) await compare(name, usual, method);
  await compare("one decision for all modules", usual, (some) => decidedOnce(job.model, some));
  for (const steps of job.training.gateSteps.slice(0, -1))
    await compare(`gates of ${counted(steps, "step")}`, gated(trained, steps), PHATGOOSE);
  for (const lr of job.rates) await compare(`gates at a rate of ${lr}`, await gatesAt(job, trained.experts, lr), PHATGOOSE);
  const modules: Record<string, Readonly<Record<string, number>>> = {};
  for (const [name, router] of Object.entries(CHOOSING)) {
    onPart?.(`who is chosen by ${name}`);
    const found = await choices(job, usual, tasks, router());
    modules[name] = found.modules;
    const oneExpert = meanOf(found.first.map((chosen, set) => meanOf(chosen.map((expert, row) => alone[expert]![set]![row]!))));
    variants[name] = { ...variants[name]!, oneExpert, agreement: found.agreement };
  }
  return { seed, sets: sets.length, variants, modules };
}

const PHATGOOSE: Method = { kind: "router", router: "phatgoose", topK: 2, name: "phatgoose" };

function settings(): [string, Method][] {
  const routed = (router: string, topK?: number): Method => ({ kind: "router", router, ...(topK !== undefined && { topK }) });
  return [
    ["phatgoose", PHATGOOSE],
    ["phatgoose, k = 1", routed("phatgoose", 1)],
    ["phatgoose, k = 4", routed("phatgoose", 4)],
    ["phatgoose, temperature 0.3", routed("phatgoose:temperature=0.3", 2)],
    ["phatgoose, temperature 0.1", routed("phatgoose:temperature=0.1", 2)],
    ["arrow", routed("arrow", 2)],
    ["spectr", routed("spectr", 2)],
    ["average activation", routed("average-activation", 2)],
    ["uniform", routed("uniform")],
  ];
}

/** The experts with gates that were trained at another learning rate, for the usual number of steps. */
async function gatesAt(job: DevelopmentJob, experts: readonly Expert[], lr: number): Promise<Expert[]> {
  const { model, tokenizer, training, seed, out } = job;
  const steps = training.gateSteps.at(-1)!;
  const gated: Expert[] = [];
  for (const [i, expert] of experts.entries()) {
    job.onPart?.(`gates of ${expert.name} at a rate of ${lr}`);
    const found = await gateSnapshots({
      ...{ model, tokenizer, expert, snapshots: [steps], hooks: {} },
      training: await pairs(job, PUBLIC_EXPERTS[i]!, "train"),
      options: { ...training.gates, lr, steps, seed: derivedSeed(seed, expert.name) },
      folder: (at) => join(out, `gates-${lr}`, expert.name, String(at)),
    });
    gated.push({ ...expert, gates: found.get(steps)! });
  }
  return gated;
}

/** By expert, set and row: the loss per answer token with this expert alone. */
async function lossesAlone(job: DevelopmentJob, experts: readonly Expert[], tasks: readonly EvaluationTask[]): Promise<number[][][]> {
  job.onPart?.("each expert alone");
  const { methods } = await evaluate({ ...shared(job), tasks, experts, methods: [{ kind: "experts" }] });
  const byName = new Map(methods.map((method) => [expertOfRow(method.name), method]));
  return experts.map(({ name }) => tasks.map((task) => byName.get(name)!.tasks[task.name]!.outcomes.map(lossOfAnswer)));
}

/** The method with some of the experts. */
type MethodOf = (experts: readonly Expert[]) => Method;

async function lossOf(job: DevelopmentJob, experts: readonly Expert[], tasks: readonly EvaluationTask[], of: MethodOf): Promise<number> {
  const { methods } = await evaluate({ ...shared(job), tasks, experts, methods: [of(experts)] });
  return meanOf(tasks.map(({ name }) => meanOf(methods[0]!.tasks[name]!.outcomes.map(lossOfAnswer))));
}

/** Each set without its own expert. */
async function lossWithoutOwn(
  job: DevelopmentJob,
  experts: readonly Expert[],
  tasks: readonly EvaluationTask[],
  of: MethodOf,
): Promise<number> {
  const losses: number[] = [];
  for (const task of tasks) {
    const others = experts.filter(({ name }) => name !== task.name);
    losses.push(await lossOf(job, others, [task], of));
  }
  return meanOf(losses);
}

const shared = ({ model, tokenizer, out }: DevelopmentJob) => ({ model, tokenizer, batchSize: 32, cache: join(out, "results") });

function lossOfAnswer({ choices, label = -1, target }: Outcome & { readonly label?: number }): number {
  const { sum, tokens } = (target ?? choices?.[label])!;
  return -sum / tokens;
}

interface Choices {
  readonly agreement: number;
  readonly modules: Readonly<Record<string, number>>;
  /** By set, then row: the expert with the largest share. */
  readonly first: readonly (readonly number[])[];
}

/** Whom a router chooses on the inputs of each set. */
async function choices(
  { model, tokenizer }: DevelopmentJob,
  experts: readonly Expert[],
  tasks: readonly EvaluationTask[],
  router: Router,
): Promise<Choices> {
  const pool = withWoven(model, new RoutedPool(experts, model.base.modules, { router, topK: 2 }));
  const own = new Map<string, { same: number; all: number }>();
  const first: number[][] = [];
  for (const [set, { examples }] of tasks.entries()) {
    const ofRows: number[] = [];
    for (const { input } of examples) {
      const shares = new Float64Array(experts.length);
      for (const [module, { experts: chosen, weights }] of await promptRoutes(pool, tokenizer, input)) {
        const k = chosen.shape[2]!;
        const kind = module.replace(/^.*\d+\./, "");
        const count = own.get(kind) ?? { same: 0, all: 0 };
        for (const [at, expert] of chosen.data.entries()) {
          shares[Number(expert)]! += weights.data[at]!;
          if (at % k !== 0) continue;
          count.all++;
          if (Number(expert) === set) count.same++;
        }
        own.set(kind, count);
      }
      ofRows.push(shares.indexOf(Math.max(...shares)));
    }
    first.push(ofRows);
  }
  const counts = [...own.values()];
  const share = (of: readonly { same: number; all: number }[]) =>
    of.reduce((sum, { same }) => sum + same, 0) / of.reduce((sum, { all }) => sum + all, 0);
  return { agreement: share(counts), modules: Object.fromEntries([...own].map(([kind, count]) => [kind, share([count])])), first };
}

/** The results as a page. */
export function developmentPage(
  runs: readonly Development[],
  { name, command, commit }: { readonly name: string; readonly command: string; readonly commit: string },
): string {
  const [first] = runs as [Development];
  const over = (read: (run: Development) => number | undefined) => {
    const values = runs.flatMap((run) => read(run) ?? []);
    return values.length === 0 ? "" : meanOf(values).toFixed(3);
  };
  const columns = ["ownIn", "ownOut", "oneExpert", "agreement"] as const;
  const variants = Object.keys(first.variants).map((variant) => [
    variant,
    ...columns.map((column) => over((run) => run.variants[variant]?.[column])),
  ]);
  const routers = Object.keys(first.modules);
  const kinds = Object.keys(first.modules[routers[0]!]!);
  const modules = kinds.map((kind) => [kind, ...routers.map((router) => over((run) => run.modules[router]?.[kind]))]);
  return `# Settings of PHATGOOSE on development rows: ${name}

${counted(first.sets, "set")}, seeds ${runs.map(({ seed }) => seed).join(", ")}. Commit ${commit}. Made by \`${command}\`.
Nats per answer token on the validation rows of the experts' sets, less is better. Own in: with the set's own expert in the pool; own out: without it. One expert: the text
is served by the expert with the largest share of routing weight. Agreement: the share of tokens and modules whose first expert is the set's own; by chance ${(1 / first.sets).toFixed(3)}.

${table(["", "own in", "own out", "one expert", "agreement"], variants)}

Agreement by kind of module:

${table(["", ...routers], modules)}
`;
}
