/** @file What a farm would do, and what it would need, before it starts: nothing is trained and nothing is downloaded. */

import { randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join, relative } from "node:path";
import { UserError } from "../base/errors.ts";
import { makeFolder, writeFileAtomically } from "../checkpoint/atomic.ts";
import { resolveModel } from "../hub/resolve-model.ts";
import { type Base, openBase } from "../inference/base.ts";
import { exists } from "../storage/files.ts";
import { encodeExamples } from "../training/examples.ts";
import { assumedTokensPerSecond, fittingWorkers, memoryOf, memoryOfWeights, parametersOf, tokensOf } from "./estimate.ts";
import { READ_OFF } from "./evaluation-job.ts";
import { expertExamples } from "./expert-data.ts";
import { common, JOB_FILE, type JobResult } from "./job.ts";
import { errorOf, JobFailure, type JobProgram, startJob } from "./job-process.ts";
import type { ExpertPlan, PoolRecipe } from "./recipe-file.ts";
import { describeSource } from "./run-job.ts";
import { templatesFile, templatesOf } from "./templates.ts";

/** What a plan may measure. */
export interface PlanOptions {
  /** Train a few steps of the first expert, in a process of its own, to know how long they take. */
  readonly measure?: boolean | undefined;
  readonly program?: JobProgram | undefined;
  readonly workers?: number | undefined;
}
/** An expert of a plan: its data, and what its training takes. `seconds` are those of one process. */
export interface PlannedExpert {
  readonly name: string;
  readonly data: string;
  /** Whether its data are on this machine. */
  readonly isHere: boolean;
  readonly steps: number;
  readonly gateSteps: number;
  readonly batchSize: number;
  readonly microBatchSize: number;
  readonly tokens: number;
  /** Absent where neither a step was measured nor the base's size is known. */
  readonly seconds?: number;
}
/** What a farm would do and need. */
export interface FarmPlan {
  readonly name: string;
  readonly base: string;
  readonly experts: readonly PlannedExpert[];
  /** Of experts, of Mixture-of-LoRAs routers, and of the evaluation. */
  readonly jobs: { readonly experts: number; readonly routers: number; readonly evaluation: number };
  readonly tokens: number;
  /** On this machine, with `workers` jobs side by side. */
  readonly seconds?: number;
  readonly workers: number;
  /** Of one job; the measured peak where a step was measured. */
  readonly memoryBytes?: number;
  readonly measured?: { readonly tokensPerSecond: number; readonly peakBytes: number };
  /** What a run would fetch from the Hub. */
  readonly downloads: readonly string[];
  /** What has to be put there by hand before a run. */
  readonly missing: readonly string[];
  /** What the numbers rest on. */
  readonly assumptions: readonly string[];
}

/** Plans a recipe's jobs, without training or downloading anything.
 *  @throws DataError for data or templates that are here and do not fit the recipe. */
export async function planFarm(recipe: PoolRecipe, options: PlanOptions = {}): Promise<FarmPlan> {
  const base = await baseHere(recipe.base);
  const downloads = new Set<string>();
  const missing = new Set<string>();
  if (!base) downloads.add(`base model ${recipe.base}`);
  const notes = new Set<string>();
  const looked: { expert: ExpertPlan; perExample: number; isHere: boolean }[] = [];
  for (const expert of recipe.experts) {
    await noteTemplates(expert, recipe.dataFolder, { missing, notes });
    looked.push({ expert, ...(await lookedAt(expert, recipe, { base, downloads, missing, notes })) });
  }
  const parameters = base ? parametersOf(base) : recipe.parameters;
  const computed = base ? Math.max(...recipe.experts.map((expert) => memoryOf(base, expert))) : parameters && memoryOfWeights(parameters);
  const cores = availableParallelism();
  const workersFor = (bytes = 1) => options.workers ?? fittingWorkers(cores, bytes, recipe.experts.length);
  const threadsOf = (count: number) => Math.max(1, Math.floor(cores / count));
  const { measure, program } = options;
  // A job's process has its share of the cores, in the measurement too.
  const measured = measure && program && base ? await measuredOn(recipe, base, program, threadsOf(workersFor(computed))) : undefined;
  const memoryBytes = measured?.peakBytes ?? computed;
  const workers = workersFor(memoryBytes);
  const rate = measured?.tokensPerSecond ?? (parameters && assumedTokensPerSecond(parameters) * threadsOf(workers));
  for (const note of assumptions({ base, parameters, measured: measured !== undefined })) notes.add(note);
  const experts = looked.map(({ expert, perExample, isHere }) => planned(expert, perExample, isHere, rate));
  const tokens = experts.reduce((sum, expert) => sum + expert.tokens, 0);
  const methods = recipe.evaluation && (recipe.evaluation.methods ?? ["base", "experts", "merged", "best_individual", "oracle", "own"]);
  const evaluation = methods ? methods.filter((method) => !READ_OFF.includes(method)).length + 1 : 0;
  return {
    name: recipe.name,
    base: recipe.base,
    experts,
    jobs: { experts: experts.length, routers: recipe.moa ? 1 : 0, evaluation },
    tokens,
    ...(rate && { seconds: tokens / rate / workers }),
    workers,
    ...(memoryBytes && { memoryBytes }),
    ...(measured && { measured }),
    downloads: [...downloads],
    missing: [...missing],
    assumptions: [...notes],
  };
}

function planned(expert: ExpertPlan, perExample: number, isHere: boolean, rate: number | undefined): PlannedExpert {
  const { name, training, gates } = expert;
  const tokens = Math.round(tokensOf(expert, perExample));
  return {
    name,
    data: describeSource(expert),
    isHere,
    steps: training.steps,
    gateSteps: gates?.steps ?? 0,
    batchSize: training.batchSize,
    microBatchSize: training.microBatchSize,
    tokens,
    ...(rate && { seconds: tokens / rate }),
  };
}

/** The base, where it is on this machine. */
async function baseHere(name: string): Promise<Base | undefined> {
  const folder = await offline(() => resolveModel(name, { env: OFFLINE() }));
  return folder === undefined ? undefined : openBase(folder);
}

const OFFLINE = () => ({ ...process.env, HF_HUB_OFFLINE: "1" });
const NOT_HERE: readonly (string | undefined)[] = ["hub-not-cached", "dataset-not-found", "checkpoint-not-found"];

/** What `work` gives without the network; undefined where it would need it. */
async function offline<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof UserError && NOT_HERE.includes(error.code)) return undefined;
    throw error;
  }
}

interface Looking {
  readonly base: Base | undefined;
  readonly downloads: Set<string>;
  readonly missing: Set<string>;
  readonly notes: Set<string>;
}
const SAMPLE = 200; // examples that tell how long examples are

/** Mean tokens of an expert's examples, and whether they are here. */
async function lookedAt(expert: ExpertPlan, recipe: PoolRecipe, { base, downloads, missing, notes }: Looking) {
  const { source, training, seed, where } = expert;
  const longest = 2 * training.maxLength;
  if (source.group !== undefined) {
    downloads.add(`dataset ${source.dataset}, folders ${(source.folders ?? []).join(", ")}, read by ranges`);
    missing.add("the file of groups, which says which values each group has (docs/guide/farm.md)");
    return { perExample: longest, isHere: false };
  }
  const isUnprepared =
    source.templates && source.templates.from !== "p3" && !(await exists(templatesFile(source.templates.path ?? "", recipe.dataFolder)));
  const few = { ...source, rows: Math.min(source.rows ?? SAMPLE, SAMPLE), limit: SAMPLE };
  const { templates: _, ...bare } = few;
  const options = { dataFolder: recipe.dataFolder, seed, where, env: OFFLINE() };
  const examples = await offline(() =>
    expertExamples(isUnprepared ? bare : few, "training", options).catch(unlessUnprepared(isUnprepared)),
  );
  if (examples === undefined) {
    const parts = source.folders
      ? [`, folders ${source.folders.join(", ")}, read by ranges`]
      : source.config
        ? [`, configuration ${source.config}`]
        : [];
    const from =
      source.templates?.from === "p3"
        ? `bigscience/P3, the prepared text of ${source.templates.path}`
        : `${source.dataset}${parts.join("")}`;
    downloads.add(`dataset ${from}`);
    notes.add("Examples that are not here are counted as long as the recipe allows.");
    return { perExample: longest, isHere: false };
  }
  if (!base || isUnprepared || examples.length === 0) return { perExample: longest, isHere: true };
  const limits = { maxInput: training.maxLength, maxTarget: training.maxLength };
  const { examples: encoded } = encodeExamples(examples, await base.tokenizer(), base.architecture, limits);
  const total = encoded.reduce((sum, { inputs, labels }) => sum + inputs.length + labels.length, 0);
  return { perExample: encoded.length === 0 ? longest : total / encoded.length, isHere: true };
}

/** Rows of a dataset without their templates are no examples: that they are here is all that can be said. */
function unlessUnprepared(isUnprepared: boolean | undefined) {
  return (error: unknown) => {
    if (isUnprepared && error instanceof UserError && !NOT_HERE.includes(error.code)) return [];
    throw error;
  };
}

/** Names of templates that a file does not have are an error; a file that is not there is something to get. */
async function noteTemplates(
  { source, validation, where }: ExpertPlan,
  dataFolder: string,
  { missing, notes }: Pick<Looking, "missing" | "notes">,
): Promise<void> {
  for (const templates of [source.templates, validation?.templates]) {
    if (!templates || templates.from === "p3") continue;
    const file = templatesFile(templates.path ?? "", dataFolder);
    if (await exists(file)) await templatesOf(templates, dataFolder, where);
    else {
      missing.add(`templates ${relative(process.cwd(), file)}`);
      notes.add("Templates are promptsource/templates/<path>/templates.yaml of github.com/bigscience-workshop/promptsource.");
    }
  }
}

async function measuredOn(recipe: PoolRecipe, base: Base, program: JobProgram, threads: number): Promise<FarmPlan["measured"]> {
  const folder = join(tmpdir(), `skein-measure-${randomUUID()}`);
  const { dataFolder, experts } = recipe;
  const job = {
    kind: "measure" as const,
    name: "measure",
    ...common(recipe),
    base: base.checkpoint.directory,
    expert: experts[0]!,
    dataFolder,
  };
  try {
    await makeFolder(folder);
    await writeFileAtomically(join(folder, JOB_FILE), JSON.stringify(job));
    const { tokensPerSecond = 0, peakBytes }: JobResult = await startJob(program, folder, { threads });
    return { tokensPerSecond, peakBytes };
  } catch (error) {
    throw error instanceof JobFailure ? errorOf(error.problem) : error;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function assumptions({
  base,
  parameters,
  measured,
}: {
  base: Base | undefined;
  parameters: number | undefined;
  measured: boolean;
}): string[] {
  if (measured) return ["Time and memory follow from a few measured steps of the first expert; time grows with tokens."];
  if (parameters === undefined) return ["The size of the base is not known before it is here: no time and no memory are given."];
  return [
    "No step was measured: time counts 4 operations a weight and token at 20 billion a second and core, a guess that is good to a factor of three.",
    base
      ? "Memory is computed: float32 weights, what a micro-batch of the longest examples keeps for gradients, and what is learned."
      : "Memory is that of the float32 weights alone.",
  ];
}
