/** @file Trains Mixture-of-LoRAs models (arXiv:2403.03432): a LoRA for each domain, then routers and LoRAs together.
 *
 *    trainMoa      stage 1 trains one LoRA per domain, alone; stage 2 trains routers before every layer and continues the LoRAs,
 *                  on batches that mix the domains in the proportions of the data
 *    addDomain     trains one more LoRA, alone, and one more row in each router; everything else stays bit for bit */

import type { LoraAdapter } from "../adapters/adapter.ts";
import { checkExpertName } from "../adapters/pool-file.ts";
import { AdapterError, OptionError } from "../base/errors.ts";
import { derivedSeed } from "../base/random.ts";
import type { TrainingExample } from "../data/training-data.ts";
import { type MoaRouter, routerLayers } from "../routing/moa.ts";
import type { Moa } from "../routing/moa-file.ts";
import type { Encoded } from "./batches.ts";
import { dateOf, encoded } from "./encoded.ts";
import { hashOf, learnFrom, type TrainingSetting } from "./learn.ts";
import { freshLora } from "./learner.ts";
import { freshRouters, type MoaParts, moaLearner, trainedParts } from "./moa-learner.ts";
import { type ExpertOptions, expertRecipe, type MoaOptions, type MoaRecipe, moaRecipe, parseRecipe } from "./recipe.ts";
import { routerStandards } from "./router-standards.ts";
import { targetModules, trainExpert } from "./train.ts";

/** A domain of a Mixture-of-LoRAs model, and what is learned of it. */
export interface DomainData {
  readonly name: string;
  readonly training: readonly TrainingExample[];
  readonly validation?: readonly TrainingExample[];
  /** A trained LoRA; stage 1 is then skipped for this domain. */
  readonly adapter?: LoraAdapter | undefined;
}
/** A MoA model in memory: `adapters` in the order of `moa.domains`. */
export interface MoaModel {
  readonly moa: Moa;
  readonly adapters: readonly LoraAdapter[];
}
/** What `trainMoa` and `addDomain` share. */
export interface MoaJob extends TrainingSetting {
  /** Stage 2. */
  readonly options?: MoaOptions;
  /** Stage 1, and the shape of LoRAs. */
  readonly expert?: ExpertOptions;
  /** Called when a part of the work begins. */
  readonly onStage?: (stage: string) => void;
}
/** What `trainMoa` is asked. */
export interface TrainMoaJob extends MoaJob {
  readonly domains: readonly DomainData[];
  /** Skip stage 1: LoRAs start from new values (the paper's ablation). */
  readonly fromScratch?: boolean;
}

/** Both stages.
 *  @throws OptionError for domains or options that make no sense, TrainingError and StoppedError as `trainExpert` does. */
export async function trainMoa(job: TrainMoaJob): Promise<MoaModel> {
  const { options = {}, model, domains } = job;
  // Without labels, a layer's router reads the states after the mixtures of the previous layers.
  const recipe = parseRecipe(moaRecipe, options.labels === false ? { states: "adapted", ...options } : options);
  checkDomains(domains.map(({ name }) => name));
  checkPacking(recipe);
  checkAblations(job, recipe);
  const adapters: LoraAdapter[] = [];
  for (const domain of domains) adapters.push(domain.adapter ?? (await firstLora(job, domain)));
  job.onStage?.("routers");
  const { architecture } = model.base;
  const routers = freshRouters(routerLayers(architecture), domains.length, architecture.hiddenSize, recipe.seed);
  const parts = await secondStage(job, domains, { adapters, routers }, recipe, 0);
  return modelOf(
    domains.map(({ name }) => name),
    parts,
    recipe,
  );
}

/** A domain's LoRA: trained alone, or new if stage 1 is skipped. */
async function firstLora(job: TrainMoaJob, domain: DomainData): Promise<LoraAdapter> {
  if (!job.fromScratch) return trainDomain(job, domain);
  const { targets, rank, alpha, seed } = parseRecipe(expertRecipe, job.expert ?? {});
  const { model } = job;
  return freshLora(model.base.modules, {
    targets: targetModules(model.base, targets),
    rank,
    scaling: alpha / rank,
    seed: derivedSeed(seed, domain.name),
  });
}

/** Stage 1 for one domain. */
export async function trainDomain(job: MoaJob, { name, training, validation }: DomainData): Promise<LoraAdapter> {
  job.onStage?.(name);
  const { options: _, expert, run, ...setting } = job;
  const adapter = await trainExpert({
    ...setting,
    training,
    ...(validation && { validation }),
    ...(run !== undefined && { run: `${run}/${name}` }),
    ...(expert && { options: expert }),
  });
  if (adapter.kind === "lora") return adapter;
  throw new AdapterError({
    code: "adapter-kind",
    data: { kind: adapter.kind, option: "kind" },
    what: `A domain's expert is a LoRA, not ${adapter.kind}.`,
    fix: "Leave `kind` out.",
  });
}

/** The folder of the second stage's run; no domain can have this name. */
const SECOND_STAGE = "_routers";

async function secondStage(
  job: MoaJob,
  domains: readonly DomainData[],
  parts: MoaParts,
  recipe: MoaRecipe,
  firstRow: number,
): Promise<MoaParts> {
  const { model, run } = job;
  const folder = run !== undefined && { run: `${run}/${SECOND_STAGE}` };
  const { date, identity } = await dateOf(
    { ...job, ...folder },
    domains.flatMap(({ training }) => training),
  );
  const labeled = (examplesOf: (domain: DomainData) => readonly TrainingExample[]): Encoded[] =>
    domains.flatMap((data, domain) => encoded({ ...job, date }, examplesOf(data), recipe).map((example) => ({ ...example, domain })));
  const data = { training: labeled(({ training }) => training), validation: labeled(({ validation }) => validation ?? []) };
  const standards = await routerStandards(model.base, recipe.pooling, data.training);
  const learning = { ...parts, standards };
  const learner = moaLearner(model.base, learning, { ...recipe, firstRow });
  const setting = { ...job, ...folder };
  const start = hashOf([...learner.initial].map(([name, tensor]) => [name, Buffer.from(tensor.data.buffer).toString("base64")]));
  return trainedParts(learning, await learnFrom(setting, learner, data, recipe, { identity: { firstRow, start, ...identity } }));
}

/** What `addDomain` is asked. */
export interface AddDomainJob extends MoaJob {
  readonly current: MoaModel;
  readonly domain: DomainData;
  /** Examples of the existing domains, as negative examples for the new row. */
  readonly replay: readonly DomainData[];
  /** Train the new rows only (default), or all rows of the routers. */
  readonly rows?: "new" | "all";
}

/** Adds one domain to the model. The other domains' LoRAs stay bit for bit; with `rows: "new"`, so do their router rows.
 *  @throws OptionError for a domain that is there already or options that make no sense, TrainingError and StoppedError as
 *  `trainExpert` does. */
export async function addDomain(job: AddDomainJob): Promise<MoaModel> {
  const { current, domain, replay, rows = "new" } = job;
  const { moa } = current;
  const recipe: MoaRecipe = {
    ...parseRecipe(moaRecipe, job.options ?? {}),
    pooling: moa.pooling,
    states: moa.states,
    labels: true,
    freezeLoras: true,
  };
  const names = [...moa.domains, domain.name];
  checkDomains(names);
  checkPacking(recipe);
  checkReplay(replay, moa.domains);
  const adapter = domain.adapter ?? (await trainDomain(job, domain));
  job.onStage?.("routers");
  const data = names.map((name) =>
    name === domain.name ? domain : (replay.find((other) => other.name === name) ?? { name, training: [] }),
  );
  if (data.some(({ training }) => training.length === 0)) {
    const missing = data.filter(({ training }) => training.length === 0).map(({ name }) => name);
    job.onWarning?.(`There are no examples of ${missing.join(", ")}: the new row may claim their texts.`);
  }
  const fresh = freshRouters([...moa.routers.keys()], 1, job.model.base.architecture.hiddenSize, derivedSeed(recipe.seed, domain.name));
  const parts = { adapters: [...current.adapters, adapter], routers: withRows(moa.routers, fresh) };
  const trained = await secondStage(job, data, parts, recipe, rows === "new" ? moa.domains.length : 0);
  const { steps, lambda, lr, seed } = recipe;
  const added = { ...(moa.training.added as object | undefined), [domain.name]: { steps, lambda, lr, seed, rows } };
  const model = modelOf(names, trained, recipe);
  return { ...model, moa: { ...model.moa, training: { ...moa.training, added } } };
}

function withRows(routers: Moa["routers"], more: Moa["routers"]): Moa["routers"] {
  const joined = (a: MoaRouter["weight"], b: MoaRouter["weight"]): MoaRouter["weight"] => {
    const data = new Float32Array(a.data.length + b.data.length);
    data.set(a.data);
    data.set(b.data, a.data.length);
    return { ...a, shape: [a.shape[0]! + b.shape[0]!, ...a.shape.slice(1)], data };
  };
  return new Map(
    [...routers].map(([layer, { weight, bias }]) => {
      const row = more.get(layer)!;
      return [layer, { weight: joined(weight, row.weight), bias: joined(bias, row.bias) }];
    }),
  );
}

function modelOf(domains: readonly string[], { adapters, routers }: MoaParts, recipe: MoaRecipe): MoaModel {
  const { pooling, states, steps, lambda, lr, seed, labels } = recipe;
  return { moa: { domains, routers, pooling, states, training: { steps, lambda, lr, seed, labels } }, adapters };
}

function checkDomains(names: readonly string[]): void {
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined)
    throw new OptionError({
      code: "option-duplicate",
      data: { option: "domains", got: twice },
      what: `Two domains are called "${twice}".`,
      fix: "Give each its own name.",
    });
  for (const name of names) checkExpertName(name, "domains");
  if (names.length < 2)
    throw new OptionError({
      code: "option-count",
      data: { option: "domains", expected: 2, got: names.length },
      what: "One domain leaves nothing to choose.",
      fix: "Give at least two domains.",
    });
}
function checkReplay(replay: readonly DomainData[], known: readonly string[]): void {
  const wrong = replay.find(({ name }) => !known.includes(name));
  if (wrong === undefined) return;
  const what = `There are examples to replay of "${wrong.name}", which is none of the model's domains.`;
  throw new OptionError({
    code: "option-unknown-value",
    data: { option: "replay", got: wrong.name, known },
    what,
    fix: `Name some of: ${known.join(", ")}.`,
  });
}
function checkAblations({ domains, fromScratch }: TrainMoaJob, { freezeLoras, labels, states }: MoaRecipe): void {
  if (fromScratch && freezeLoras && domains.some(({ adapter }) => !adapter)) {
    throw new OptionError({
      code: "option-conflict",
      data: { options: ["fromScratch", "freezeLoras"] },
      what: "LoRAs from scratch that are frozen change nothing.",
      fix: "Leave out one of the two.",
    });
  }
  if (labels || states === "adapted") return;
  throw new OptionError({
    code: "option-conflict",
    data: { options: ["labels", "states"] },
    what: "Without labels routers read the states that the LoRAs have changed.",
    fix: "Leave states out.",
  });
}
function checkPacking({ packing }: MoaRecipe): void {
  if (packing)
    throw new OptionError({
      code: "option-not-for-model",
      data: { option: "packing" },
      what: "Packed rows hold several prompts; a router reads one.",
      fix: "Leave `packing` out.",
    });
}
