/** @file The training of the study on public data: for each set an expert with statistics and gates of every length, one LoRA for all
 *  sets at two ranks, and Mixture-of-LoRAs routers over the sets' domains.
 *
 *      OUT/experts/<set>/        PEFT adapter, selected by validation loss, and statistics
 *      OUT/gates/<set>/<steps>/  the expert's gates after so many steps
 *      OUT/multitask-N/, OUT/multitask-wide-N/, OUT/domains-N/<domain>/     of the first N sets
 *
 *  All baselines take as many steps as the experts in sum. Finished parts are not repeated. */

import { join } from "node:path";
import type { LoraAdapter } from "../adapters/adapter.ts";
import type { Expert, Gates } from "../adapters/expert.ts";
import { EMBEDDING_FILE } from "../adapters/file-names.ts";
import { derivedSeed } from "../base/random.ts";
import type { TrainingExample } from "../data/training-data.ts";
import { MoaWoven } from "../inference/moa-woven.ts";
import type { Model } from "../inference/model.ts";
import { loadExpert } from "../storage/expert.ts";
import { exists } from "../storage/files.ts";
import { loadAdapter } from "../storage/peft.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { LoopHooks } from "../training/loop.ts";
import type { ExpertOptions, GateOptions } from "../training/recipe.ts";
import { gatherStatistics } from "../training/statistics.ts";
import { trainExpert } from "../training/train.ts";
import { trainMoa } from "../training/train-moa.ts";
import { gateSnapshots } from "./gate-snapshots.ts";
import { expertRows } from "./public-files.ts";
import { PUBLIC_EXPERTS } from "./public-sets.ts";
import { asked } from "./public-tasks.ts";

export interface PublicTraining {
  /** Options of each expert; `steps` is needed. */
  readonly expert: ExpertOptions & { readonly steps: number };
  readonly gates: GateOptions;
  /** The compared lengths of gate training. */
  readonly gateSteps: readonly number[];
  /** Steps of the Mixture-of-LoRAs routers. */
  readonly routerSteps: number;
  /** How many of the sets have an expert: all of them, or the first for a trial. */
  readonly numExperts?: number;
}
export interface PublicJob {
  readonly model: Model;
  readonly tokenizer: Tokenizer;
  readonly baseName: string;
  /** The folder of the small variant. */
  readonly data: string;
  readonly out: string;
  readonly seed: number;
  readonly training: PublicTraining;
  readonly onPart?: (part: string) => void;
  readonly signal?: AbortSignal;
}
export interface PublicExperts {
  /** Without gates. */
  readonly experts: readonly Expert[];
  /** By steps: the gates of each expert, in their order. */
  readonly gates: ReadonlyMap<number, readonly Gates[]>;
}
/** The experts with their gates after so many steps; without gates where none were trained for so long. */
export function gated({ experts, gates }: PublicExperts, steps: number): readonly Expert[] {
  const found = gates.get(steps);
  return found ? experts.map((expert, i) => ({ ...expert, gates: found[i]! })) : experts;
}

/** What is trained on all data together. */
export interface PublicBaselines {
  readonly multitask: LoraAdapter;
  readonly multitaskWide: LoraAdapter;
  readonly moa: MoaWoven;
}

const WIDER = 4; // times the rank, with the same scaling

/** Trains the missing experts and reads all of them. */
export async function publicExperts(job: PublicJob): Promise<PublicExperts> {
  const sets = publicSets(job);
  const experts: Expert[] = [];
  const gates = new Map<number, Gates[]>(job.training.gateSteps.map((steps) => [steps, []]));
  for (const set of sets) {
    const folder = join(job.out, "experts", set.name);
    const training = await pairs(job, set, "train");
    await lora(job, set.name, { folder, training, validation: await pairs(job, set, "validation") });
    if (!(await exists(join(folder, EMBEDDING_FILE)))) {
      job.onPart?.(`statistics of ${set.name}`);
      await gatherStatistics({ model: job.model, tokenizer: job.tokenizer, expert: folder, examples: training });
    }
    const expert = await loadExpert(folder, job.model.base.modules);
    experts.push(expert);
    for (const [steps, found] of await gatesOf(job, expert, training)) gates.get(steps)?.push(found);
  }
  return { experts, gates };
}

/** Trains the missing baselines and reads all of them. */
export async function publicBaselines(job: PublicJob): Promise<PublicBaselines> {
  const sets = publicSets(job);
  const union = { training: await unionOf(job, sets, "train"), validation: await unionOf(job, sets, "validation") };
  const steps = sets.length * job.training.expert.steps;
  const { rank = 16, alpha = 1 } = job.training.expert;
  const multitask = await lora(job, `multitask-${sets.length}`, {
    folder: join(job.out, `multitask-${sets.length}`),
    ...union,
    change: { steps },
  });
  const wide = { steps, rank: WIDER * rank, alpha: WIDER * alpha };
  const multitaskWide = await lora(job, `multitask-wide-${sets.length}`, {
    folder: join(job.out, `multitask-wide-${sets.length}`),
    ...union,
    change: wide,
  });
  return { multitask, multitaskWide, moa: await moaOf(job, sets) };
}

const publicSets = ({ training: { numExperts } }: Pick<PublicJob, "training">) => PUBLIC_EXPERTS.slice(0, numExperts);
type Sets = ReturnType<typeof publicSets>;

/** Rows of a set as training examples. */
export async function pairs(
  { data }: Pick<PublicJob, "data">,
  set: Sets[number],
  part: "train" | "validation",
): Promise<TrainingExample[]> {
  return (await expertRows(data, set, part)).map(({ input, target }) => ({ kind: "pair", input: asked(input), target }));
}

async function unionOf(job: PublicJob, sets: Sets, part: "train" | "validation"): Promise<TrainingExample[]> {
  return (await Promise.all(sets.map((set) => pairs(job, set, part)))).flat();
}

interface LoraJob {
  readonly folder: string;
  readonly training: readonly TrainingExample[];
  readonly validation: readonly TrainingExample[];
  readonly change?: ExpertOptions;
}

/** Trains one LoRA into its folder, unless it exists. */
async function lora(job: PublicJob, name: string, { folder, training, validation, change }: LoraJob): Promise<LoraAdapter> {
  const { model, tokenizer, baseName } = job;
  if (!(await exists(join(folder, "README.md")))) {
    job.onPart?.(`expert ${name}`);
    const options = { ...job.training.expert, ...change, seed: derivedSeed(job.seed, name) };
    const run = join(job.out, "runs", name);
    const validateEvery = Math.max(1, Math.floor((options.steps ?? 1) / 6));
    await trainExpert({
      ...{ model, tokenizer, base: baseName, training, validation, out: folder, run, data: name, hooks: hooks(job) },
      options: { ...options, validateEvery, saveEvery: validateEvery },
    });
  }
  return (await loadAdapter(folder, model.base.modules)) as LoraAdapter;
}

function gatesOf(job: PublicJob, expert: Expert, training: readonly TrainingExample[]): Promise<Map<number, Gates>> {
  const { model, tokenizer, seed } = job;
  const { gateSteps, gates } = job.training;
  job.onPart?.(`gates of ${expert.name}`);
  return gateSnapshots({
    ...{ model, tokenizer, expert, training, snapshots: gateSteps, hooks: hooks(job) },
    options: { ...gates, steps: Math.max(1, ...gateSteps), seed: derivedSeed(seed, expert.name) },
    folder: (steps) => join(job.out, "gates", expert.name, String(steps)),
  });
}

/** Mixture-of-LoRAs over the domains of the sets, with the experts' steps in sum. */
async function moaOf(job: PublicJob, sets: Sets): Promise<MoaWoven> {
  const { model, tokenizer, training } = job;
  const names = [...new Set(sets.map(({ domain }) => domain))];
  const domains = await Promise.all(
    names.map(async (name) => {
      const own = sets.filter(({ domain }) => domain === name);
      const change = { steps: Math.max(1, own.length * training.expert.steps - Math.floor(training.routerSteps / names.length)) };
      const data = { training: await unionOf(job, own, "train"), validation: await unionOf(job, own, "validation") };
      return { name, data, change };
    }),
  );
  const trained = [];
  for (const { name, data, change } of domains) {
    const adapter = await lora(job, `domain-${name}-${sets.length}`, {
      folder: join(job.out, `domains-${sets.length}`, name),
      ...data,
      change,
    });
    trained.push({ name, adapter, training: data.training });
  }
  job.onPart?.("routers");
  const { batchSize = 8, microBatchSize = 8, lr = 2e-3 } = training.expert;
  const options = { steps: training.routerSteps, batchSize, microBatchSize, lr, seed: job.seed, validateEvery: 0 };
  const run = join(job.out, "runs", `moa-${sets.length}`);
  const { moa, adapters } = await trainMoa({ model, tokenizer, domains: trained, run, options, hooks: hooks(job) });
  return new MoaWoven(
    model,
    moa,
    adapters.map((adapter, i) => ({ name: moa.domains[i]!, adapter, warnings: [] })),
    {},
  );
}

const hooks = ({ signal }: PublicJob): LoopHooks => (signal ? { signal } : {});
