/** @file Compares Mixture-of-LoRAs with its baselines (arXiv:2403.03432). Every method gets the same number of training steps, the sum
 *  for the domains' LoRAs and the routers.
 *
 *      base                    nothing
 *      LoRA of the domain      one LoRA per domain, with the domain given               E + S / D steps each
 *      one LoRA, mixed data    one LoRA on all domains                                  D E + S
 *      one LoRA, rank D r      the same with as many weights as all domains' LoRAs      D E + S
 *      MoE-LoRA                token-level routers and D LoRAs, learned end to end      D E + S
 *      classifier + LoRAs      the domains' LoRAs, chosen by softmax regression
 *      MoA                     D LoRAs for E steps each, then with routers for S; by vote, last router, per layer, domain given
 *
 *  Optional ablations: routers without labels, LoRAs from scratch, routers on adapted states, frozen LoRAs. */

import type { LoraAdapter } from "../adapters/adapter.ts";
import { derivedSeed } from "../base/random.ts";
import { type DomainScores, type RouterReport, routerReport, scoreDomains } from "../evaluation/comparison/domains.ts";
import type { DomainResults } from "../evaluation/report/domains-page.ts";
import { encodeContext } from "../evaluation/scoring/encode.ts";
import { type MoaOptions, MoaWoven } from "../inference/moa-woven.ts";
import type { Model } from "../inference/model.ts";
import { promptStates } from "../inference/prompt-states.ts";
import { type Prompts, promptsOf } from "../inference/prompts.ts";
import { plain, singleAdapter, type Woven } from "../inference/woven.ts";
import { DECISION_RULES } from "../routing/moa-decision.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { type Classifier, trainClassifier } from "../training/domain-classifier.ts";
import { encoded } from "../training/encoded.ts";
import { learnFrom } from "../training/learn.ts";
import { freshLora } from "../training/learner.ts";
import type { LoopHooks } from "../training/loop.ts";
import { moeLoraLearner, moeLoraWoven } from "../training/moe-lora.ts";
import { expertRecipe, parseRecipe } from "../training/recipe.ts";
import { rowVectors } from "../training/router-standards.ts";
import { targetModules } from "../training/train.ts";
import { type MoaModel, trainDomain, trainMoa } from "../training/train-moa.ts";
import type { Example } from "./documents.ts";

export interface StudyDomain {
  readonly name: string;
  readonly training: readonly Example[];
  readonly test: readonly Example[];
}
export interface StudyOptions {
  /** E: steps of each domain's LoRA alone. */
  readonly expertSteps: number;
  /** S: steps of routers and LoRAs together. */
  readonly steps: number;
  readonly rank: number;
  readonly alpha: number;
  readonly lr: number;
  /** Learning rate of routers and LoRAs together, if the LoRAs are already trained; default lr. */
  readonly jointLr?: number | undefined;
  readonly batchSize: number;
  readonly microBatchSize: number;
  readonly maxLength: number;
  readonly seed: number;
  /** Longest answer in tokens. */
  readonly maxTokens: number;
  readonly ablations?: boolean;
}
export interface StudyJob {
  readonly model: Model;
  readonly tokenizer: Tokenizer;
  readonly title: string;
  readonly domains: readonly StudyDomain[];
  readonly options: StudyOptions;
  /** Folder to resume from. */
  readonly runs: string;
  readonly signal?: AbortSignal;
  /** Called as each part begins, and while it trains. */
  readonly onPart?: (part: string, progress?: Parameters<NonNullable<LoopHooks["onProgress"]>>[0]) => void;
}
export interface Study extends DomainResults {
  readonly moa: MoaModel;
}

const pairs = (examples: readonly Example[]) => examples.map(({ input, target }) => ({ kind: "pair" as const, input, target }));

/** Trains and compares all methods. */
export async function moaStudy(job: StudyJob): Promise<Study> {
  const trainer = new StudyTrainer(job);
  const methods = new Map<string, (domain: string) => Woven>([["base", () => plain]]);
  const told = new Set(["LoRA of the domain", "MoA, told"]);

  const own = await trainer.loras(trainer.budget.own, "alone");
  const byName = new Map(job.domains.map(({ name }, d) => [name, singleAdapter(own[d]!, job.model.base.modules)]));
  methods.set("LoRA of the domain", (domain) => byName.get(domain)!);
  for (const [name, factor] of [
    ["one LoRA, mixed data", 1],
    [`one LoRA, rank ${job.domains.length} r`, job.domains.length],
  ] as const) {
    const mixed = singleAdapter(await trainer.mixedLora(factor), job.model.base.modules);
    methods.set(name, () => mixed);
  }
  const moe = await trainer.moeLora();
  methods.set("MoE-LoRA", () => moe);
  const first = await trainer.loras(job.options.expertSteps, "first");
  const moa = await trainer.moa("moa", first);
  const classifier = await trainer.classifier();
  const dispatched = wovenOf(job.model, { ...moa, adapters: own }, { dispatcher: dispatcherOf(job.model, classifier) });
  methods.set("classifier + LoRAs", () => dispatched);
  for (const rule of DECISION_RULES) {
    const woven = wovenOf(job.model, moa, { rule });
    methods.set(`MoA, ${rule}`, () => woven);
  }
  methods.set("MoA, told", (domain) => wovenOf(job.model, moa, { domain }));
  if (job.options.ablations) for (const [name, woven] of await trainer.ablations(first)) methods.set(name, () => woven);

  const scores = new Map<string, ReadonlyMap<string, DomainScores>>();
  for (const [name, wovenFor] of methods) {
    job.onPart?.(`evaluating ${name}`);
    scores.set(name, await scoreDomains(job.model, job.tokenizer, tests(job), wovenFor, evaluationOptions(job)));
  }
  const routers = await routersOf(job, moa);
  return { title: job.title, methods: scores, told, routers, classifier: await trainer.classifierAccuracy(classifier), moa };
}

const tests = ({ domains }: StudyJob) => domains.map(({ name, test }) => ({ name, examples: test }));

function evaluationOptions({ options, signal }: StudyJob) {
  return { maxTokens: options.maxTokens, maxInputTokens: options.maxLength, batchSize: 50, ...(signal && { signal }) };
}

function routersOf(job: StudyJob, moa: MoaModel): Promise<RouterReport> {
  return routerReport(job.model, job.tokenizer, wovenOf(job.model, moa, {}), tests(job));
}

/** A MoA model to weave into the base. */
export function wovenOf(model: Model, { moa, adapters }: MoaModel, options: MoaOptions): MoaWoven {
  const experts = adapters.map((adapter, i) => ({ name: moa.domains[i]!, adapter, warnings: [] }));
  return new MoaWoven(model, moa, experts, options);
}

function dispatcherOf(model: Model, classifier: Classifier): NonNullable<MoaOptions["dispatcher"]> {
  return async (prompts: Prompts) => rowVectors(await promptStates(model, prompts)).map((state) => classifier.classify(state));
}

/** Trains the parts of a study, each in its own run. */
class StudyTrainer {
  readonly budget: { readonly own: number; readonly all: number };
  readonly #job: StudyJob;

  constructor(job: StudyJob) {
    const { expertSteps, steps } = job.options;
    const numDomains = job.domains.length;
    this.budget = { own: expertSteps + Math.round(steps / numDomains), all: numDomains * expertSteps + steps };
    this.#job = job;
  }

  /** One LoRA for each domain. */
  async loras(steps: number, part: string): Promise<LoraAdapter[]> {
    const adapters: LoraAdapter[] = [];
    for (const { name, training } of this.#job.domains) {
      const setting = this.#setting(`${part}/${name}`);
      adapters.push(await trainDomain({ ...setting, expert: this.#expert(steps, name) }, { name: "lora", training: pairs(training) }));
    }
    return adapters;
  }

  /** One LoRA on all domains, with `factor` times the rank and the same scaling. */
  async mixedLora(factor: number): Promise<LoraAdapter> {
    const training = pairs(this.#job.domains.flatMap((domain) => domain.training));
    const part = factor === 1 ? "mixed" : "mixed-wide";
    const { rank, alpha, ...recipe } = this.#expert(this.budget.all, part);
    const expert = { ...recipe, rank: factor * rank, alpha: factor * alpha };
    return trainDomain({ ...this.#setting(part), expert }, { name: "lora", training });
  }

  async moeLora(): Promise<Woven> {
    const { model, domains } = this.#job;
    const setting = this.#setting("moe-lora");
    const recipe = parseRecipe(expertRecipe, this.#expert(this.budget.all, "moe-lora"));
    const fresh = domains.map(({ name }) => this.#fresh(name));
    const training = encoded(setting, pairs(domains.flatMap((domain) => domain.training)), recipe);
    const parameters = await learnFrom(setting, moeLoraLearner(model.base, fresh, recipe.seed), { training, validation: [] }, recipe);
    return moeLoraWoven(model.base, fresh, parameters);
  }

  /** Trains the routers and continues the LoRAs. */
  async moa(part: string, adapters: readonly LoraAdapter[] | undefined, change: Readonly<Record<string, unknown>> = {}): Promise<MoaModel> {
    const { domains, options } = this.#job;
    const { rank: _, alpha: __, ...common } = this.#expert(options.steps, "routers");
    const data = domains.map(({ name, training }, d) => ({ name, training: pairs(training), adapter: adapters?.[d] }));
    const fromScratch = adapters === undefined;
    const lr = fromScratch ? common.lr : (options.jointLr ?? common.lr);
    return trainMoa({
      ...this.#setting(part),
      domains: data,
      options: { ...common, lr, ...change },
      expert: this.#expert(0, "scratch"),
      fromScratch,
    });
  }

  async ablations(first: readonly LoraAdapter[]): Promise<Map<string, Woven>> {
    const { model } = this.#job;
    const per = { rule: "per-layer" } as const;
    const scratch = await this.moa("scratch", undefined, { steps: this.budget.all });
    return new Map<string, Woven>([
      ["MoA from scratch, vote", wovenOf(model, scratch, {})],
      ["MoA, LoRAs frozen, vote", wovenOf(model, await this.moa("frozen", first, { freezeLoras: true }), {})],
      ["MoA, adapted states, vote", wovenOf(model, await this.moa("adapted", first, { states: "adapted" }), {})],
      ["MoA without labels, per-layer", wovenOf(model, await this.moa("unlabelled", first, { labels: false, states: "adapted" }), per)],
    ]);
  }

  async classifier(): Promise<Classifier> {
    const { domains, options } = this.#job;
    this.#job.onPart?.("classifier");
    const sets = await Promise.all(domains.map(({ training }) => this.#states(training)));
    const labels = sets.flatMap((states, domain) => states.map(() => domain));
    const { lr, batchSize, seed } = options;
    return trainClassifier(sets.flat(), labels, { steps: this.budget.all, batchSize, lr, seed });
  }
  async classifierAccuracy(classifier: Classifier): Promise<number> {
    const { domains } = this.#job;
    let [right, count] = [0, 0];
    for (const [domain, { test }] of domains.entries()) {
      for (const state of await this.#states(test)) right += classifier.classify(state) === domain ? 1 : 0;
      count += test.length;
    }
    return right / count;
  }

  async #states(examples: readonly Example[]): Promise<Float32Array[]> {
    const { model, tokenizer, options } = this.#job;
    const states: Float32Array[] = [];
    for (let start = 0; start < examples.length; start += 64) {
      const texts = examples
        .slice(start, start + 64)
        .map(({ input }) => encodeContext(tokenizer, model.base.architecture, input, { maxTokens: options.maxLength }));
      states.push(...rowVectors(await promptStates(model, promptsOf(texts))));
    }
    return states;
  }

  #fresh(name: string): LoraAdapter {
    const { model, options } = this.#job;
    const { rank, alpha } = options;
    const targets = targetModules(model.base, undefined);
    return freshLora(model.base.modules, { targets, rank, scaling: alpha / rank, seed: derivedSeed(options.seed, name) });
  }
  #expert(steps: number, name: string) {
    const { rank, alpha, lr, batchSize, microBatchSize, maxLength, seed } = this.#job.options;
    const rates = { lr, batchSize, microBatchSize, maxLength, seed: derivedSeed(seed, name) };
    return { ...rates, rank, alpha, steps, dropout: 0, validateEvery: 0, saveEvery: 100 };
  }
  #setting(part: string) {
    const { model, tokenizer, runs, signal, onPart } = this.#job;
    onPart?.(part);
    const hooks: LoopHooks = { ...(signal && { signal }), onProgress: (progress) => onPart?.(part, progress) };
    return { model, tokenizer, run: `${runs}/${part}`, hooks };
  }
}
