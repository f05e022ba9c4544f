/** @file Trains several experts, or the gates of several, at once over one base. Each ends with the numbers that it has when it is trained
 *  alone, to float32 rounding: its data order, initial values, dropout, rates, optimizer, validation and run folder are its own. */

import type { Adapter, LoraAdapter } from "../adapters/adapter.ts";
import type { Gates } from "../adapters/expert.ts";
import { adapterGraphKey, adapterTensors } from "../adapters/in-graph.ts";
import { embeddingsOf } from "../adapters/modules.ts";
import { OptionError, relocated, StoppedError, TrainingError, UserError } from "../base/errors.ts";
import { checkFolder } from "../checkpoint/atomic.ts";
import type { EncodeSetting } from "./encoded.ts";
import type { EncodedSet } from "./examples.ts";
import { jointLearner } from "./joint-learner.ts";
import { JointPasses } from "./joint-passes.ts";
import { passOptions, type TrainingJob } from "./learn.ts";
import type { Progress } from "./loop.ts";
import type { Passes } from "./passes.ts";
import {
  type CommonRecipe,
  type ExpertOptions,
  expertRecipe,
  type GateOptions,
  gateRecipe,
  parseRecipe,
  togetherOptions,
} from "./recipe.ts";
import { adapterOf, type ExpertJob, expertOf, freshAdapter, type GateJob, gatesOf } from "./train.ts";

/** The inputs of `trainExperts` and `trainGates` that all their experts share. */
interface TogetherSetting extends Omit<EncodeSetting, "run"> {
  /** Experts in one pass. The others wait until one of these has ended. Default 4. Memory grows with it. */
  readonly atOnce?: number;
  readonly hooks?: {
    readonly onProgress?: (expert: string, progress: Progress) => void;
    /** Aborting saves every expert's state. */
    readonly signal?: AbortSignal;
  };
  /** Called with the encoded examples of an expert before its first step. */
  readonly onEncoded?: (expert: string, set: EncodedSet) => void;
}
interface Part extends Pick<TrainingJob, "training" | "validation" | "run"> {
  /** Its name in errors, warnings and progress. */
  readonly name: string;
}

/** One of the experts of `trainExperts`. Its `options` replace those of all. */
export interface ExpertPart extends Part, Pick<ExpertJob, "out" | "data" | "options"> {}
/** The inputs of `trainExperts`. */
export interface ExpertsJob extends TogetherSetting, Pick<ExpertJob, "base"> {
  readonly experts: readonly ExpertPart[];
  /** The options of all experts. */
  readonly options?: ExpertOptions;
}
/** One of the experts of `trainGates`. Its `options` replace those of all. */
export interface GatePart extends Part, Pick<GateJob, "expert" | "options"> {}
/** The inputs of `trainGates`. */
export interface GatesJob extends TogetherSetting {
  readonly experts: readonly GatePart[];
  /** The options of all experts. */
  readonly options?: GateOptions;
}

/** Trains several LoRAs at once: each pass reads the base once for all of them. On small float32 bases with short rows this takes less time
 *  than one after the other, on int8 bases and on large ones more (docs/guide/training.md has the times). Each expert has its own data,
 *  validation, run and options; only the form of the LoRAs, dropout and packing must be the same. An expert that has ended, or failed,
 *  leaves the passes, and the others go on.
 *  @throws as `trainExpert` does, once the other experts have ended; the error names the expert.
 *  @example
 *  import { loadModel, trainExperts } from "skein";
 *
 *  const model = await loadModel("assets/demo-base");
 *  const pair = (input: string, target: string) => [{ kind: "pair", input, target }] as const;
 *  const experts = [
 *    { name: "opposites", training: pair("opposite : 1. hot", "1. cold") },
 *    { name: "young", training: pair("young : 1. dog", "1. puppy") },
 *  ];
 *  const options = { steps: 2, batchSize: 1, rank: 4 };
 *  const adapters = await trainExperts({ model, tokenizer: await model.tokenizer(), experts, options });
 *  console.log([...adapters.keys()]); // [ "opposites", "young" ]
 *  await model.dispose(); */
export async function trainExperts(job: ExpertsJob): Promise<ReadonlyMap<string, Adapter>> {
  const { experts, base } = job;
  const begun = new Map<string, { readonly recipe: ReturnType<typeof recipeOf>; readonly fresh: LoraAdapter }>();
  const recipeOf = ({ options }: ExpertPart) => parseRecipe(expertRecipe, { ...job.options, ...options });
  checkNames(experts, ["out", "run"]);
  for (const part of experts) {
    const recipe = recipeOf(part);
    begun.set(part.name, { recipe, fresh: loraOf(part.name, freshAdapter(job.model, recipe)) });
    if (part.out) await checkFolder(part.out);
  }
  checkSame([...begun].map(([name, { recipe, fresh }]) => ({ name, recipe, adapter: fresh })));
  const { recipe, fresh } = begun.get(experts[0]!.name)!;
  await using joint = await JointPasses.open(job.model.base.architecture, jointLearner(job.model.base, fresh), passOptions(recipe));
  return await together(job, experts, async (part) => {
    const own = begun.get(part.name)!;
    return leaving(joint.join(), (passes) => expertOf({ ...jobOf(job, part), ...(base && { base }) }, own.recipe, own.fresh, passes));
  });
}

/** Trains gates for several LoRAs of one form at once, and writes them into the experts' folders.
 *  @throws as `trainGate` does, once the other experts have ended; the error names the expert. */
export async function trainGates(job: GatesJob): Promise<ReadonlyMap<string, Gates>> {
  const { model, experts } = job;
  checkNames(experts, ["expert", "run"]);
  const begun = new Map<string, { readonly recipe: ReturnType<typeof recipeOf>; readonly adapter: LoraAdapter }>();
  const recipeOf = ({ options }: GatePart) => parseRecipe(gateRecipe, { ...job.options, ...options });
  for (const part of experts) {
    const adapter = loraOf(part.name, await adapterOf({ model, expert: part.expert }));
    begun.set(part.name, { recipe: recipeOf(part), adapter });
  }
  checkSame([...begun].map(([name, own]) => ({ name, ...own })));
  const { recipe, adapter } = begun.get(experts[0]!.name)!;
  const learner = jointLearner(model.base, adapter, { gated: true });
  await using joint = await JointPasses.open(model.base.architecture, learner, passOptions(recipe));
  return await together(job, experts, async (part) => {
    const own = begun.get(part.name)!;
    const frozen = Object.fromEntries(adapterTensors(own.adapter));
    return leaving(joint.join(frozen), (passes) => gatesOf(jobOf(job, part), own.recipe, own.adapter, passes));
  });
}

/** The job of one expert, whose warnings begin with its name. */
function jobOf<P extends Part>({ model, tokenizer, date, hooks, onEncoded, onWarning }: TogetherSetting, part: P) {
  const { name } = part;
  return {
    ...part,
    model,
    tokenizer,
    date,
    hooks: {
      onProgress: (progress: Progress) => hooks?.onProgress?.(name, progress),
      ...(hooks?.signal && { signal: hooks.signal }),
    },
    onEncoded: (set: EncodedSet) => onEncoded?.(name, set),
    onWarning: (message: string) => onWarning?.(`${name}: ${message}`),
  };
}

/** Takes an expert that could not begin out of the passes, too. */
async function leaving<T>(passes: Passes, work: (passes: Passes) => Promise<T>): Promise<T> {
  try {
    return await work(passes);
  } finally {
    await passes.dispose();
  }
}

/** Runs `work` for every part, at most `atOnce` at a time, and waits for all. */
async function together<P extends Part, T>(
  { atOnce }: TogetherSetting,
  parts: readonly P[],
  work: (part: P) => Promise<T>,
): Promise<ReadonlyMap<string, T>> {
  const places = parseRecipe(togetherOptions, { ...(atOnce !== undefined && { atOnce }) }).atOnce;
  const results = new Map<string, T>();
  const failures = new Map<string, unknown>();
  const queue = [...parts];
  const place = async () => {
    for (let part = queue.shift(); part !== undefined; part = queue.shift()) {
      try {
        results.set(part.name, await work(part));
      } catch (error) {
        failures.set(part.name, error);
        if (error instanceof StoppedError) queue.length = 0;
      }
    }
  };
  await Promise.all(Array.from({ length: places }, place));
  if (failures.size > 0) throw failureOf(failures, parts.length);
  return new Map(parts.map(({ name }) => [name, results.get(name)!]));
}

/** One error for all that failed, which names the experts. */
function failureOf(failures: ReadonlyMap<string, unknown>, count: number): unknown {
  const all = [...failures];
  const bug = all.find(([, error]) => !(error instanceof UserError));
  if (bug) return bug[1];
  const [name, first] = (all.find(([, error]) => error instanceof StoppedError) ?? all[0]) as [string, UserError];
  if (first instanceof StoppedError || all.length === 1) return relocated(first, first.where ? `${name}: ${first.where}` : name);
  return new TrainingError({
    code: "training-experts-failed",
    data: { known: all.map(([failed]) => failed) },
    what: `${all.length} of ${count} experts failed:${all.map(([failed, error]) => `\n  ${failed}: ${(error as UserError).what}`).join("")}`,
    fix: first.fix,
    cause: first,
  });
}

function checkNames(parts: readonly Part[], folders: readonly string[]): void {
  if (parts.length === 0) {
    throw new OptionError({
      code: "option-empty",
      data: { option: "experts" },
      what: "There is no expert to train.",
      fix: "Give the data of at least one.",
    });
  }
  for (const field of ["name", ...folders]) {
    const values = parts.map((part) => (part as unknown as Readonly<Record<string, unknown>>)[field]);
    const twice = values.find((value, i) => typeof value === "string" && values.indexOf(value) !== i);
    if (twice === undefined) continue;
    throw new OptionError({
      code: "option-duplicate",
      data: { option: field, got: String(twice) },
      what: `Two experts have the same \`${field}\`: ${twice}.`,
      fix: "Give each its own.",
    });
  }
}

function loraOf(name: string, adapter: Adapter): LoraAdapter {
  if (adapter.kind === "lora" && embeddingsOf(adapter).length === 0) return adapter;
  throw new OptionError({
    code: "option-conflict",
    data: { options: ["kind", "targets"] },
    what: `Only LoRAs on projections train at once; this is ${adapter.kind === "lora" ? "a LoRA on embeddings" : `of kind ${adapter.kind}`}.`,
    where: name,
    fix: "Train it by itself.",
  });
}

interface Same {
  readonly name: string;
  readonly recipe: Pick<CommonRecipe, "dropout" | "packing">;
  readonly adapter: LoraAdapter;
}

/** All experts of a graph have the same form. */
function checkSame([first, ...others]: readonly Same[]): void {
  const formOf = ({ recipe: { dropout, packing }, adapter }: Same) => `${dropout} ${packing} ${adapterGraphKey(adapter)}`;
  const other = others.find((one) => formOf(one) !== formOf(first!));
  if (other === undefined) return;
  throw new OptionError({
    code: "option-conflict",
    data: { options: ["rank", "alpha", "targets", "dropout", "packing"] },
    what: `Experts that train at once have the same modules, ranks, scaling, dropout and packing; those of ${first!.name} are others.`,
    where: other.name,
    fix: "Train experts of different forms one after the other.",
  });
}
