/** @file The training functions: an expert, its gates, or a whole base. */

import { basename, resolve } from "node:path";
import type { Adapter } from "../adapters/adapter.ts";
import { freshBottleneck } from "../adapters/bottleneck.ts";
import type { Gates } from "../adapters/expert.ts";
import { freshIa3 } from "../adapters/ia3.ts";
import { withTensors } from "../adapters/in-graph.ts";
import { gateName } from "../adapters/lora.ts";
import { isAllLinear, namesTest } from "../adapters/peft-targets.ts";
import { OptionError } from "../base/errors.ts";
import type { HostTensor } from "../base/tensor.ts";
import { checkFolder } from "../checkpoint/atomic.ts";
import { saveCheckpoint } from "../checkpoint/checkpoint.ts";
import { readTensor } from "../checkpoint/safetensors.ts";
import type { Base } from "../inference/base.ts";
import type { Model } from "../inference/model.ts";
import { noteGates, writeModelCard } from "../storage/card.ts";
import { saveGates } from "../storage/expert.ts";
import { loadAdapter } from "../storage/peft.ts";
import { saveAdapter } from "../storage/peft-save.ts";
import { saveTurnEnds } from "../storage/turn-end.ts";
import { learn, type TrainingJob } from "./learn.ts";
import { adapterLearner, freshLora, fullLearner, gateLearner, type Parameters } from "./learner.ts";
import type { Passes } from "./passes.ts";
import {
  type ExpertOptions,
  type ExpertRecipe,
  expertRecipe,
  type FullOptions,
  fullRecipe,
  type GateOptions,
  type GateRecipe,
  gateRecipe,
  parseRecipe,
} from "./recipe.ts";

/** The inputs of `trainExpert`. */
export interface ExpertJob extends TrainingJob {
  /** Folder for the adapter, in PEFT's format (bottlenecks in Skein's own). */
  readonly out?: string;
  /** Name of the base for the model card and the adapter's configuration; its folder when absent. */
  readonly base?: string;
  /** Name of the data for the model card. */
  readonly data?: string;
  readonly options?: ExpertOptions;
}
/** The inputs of `trainGate`. */
export interface GateJob extends TrainingJob {
  /** Folder of any PEFT adapter, beside which the gates are written; or an adapter in memory. */
  readonly expert: string | Adapter;
  readonly options?: GateOptions;
}
/** The inputs of `trainFull`. */
export interface FullJob extends TrainingJob {
  /** Folder to write the checkpoint to. */
  readonly out?: string;
  readonly options?: FullOptions;
}

/** Trains one expert: a LoRA, or the kind in `options.kind`. With `out`, writes it there in PEFT's format (bottlenecks in Skein's own).
 *  Its model card contains `base` and `data` as given.
 *  @throws OptionError for options that make no sense, TrainingError where the loss is no number any more, StoppedError when the signal
 *  of `hooks` aborts: with `run`, the same call goes on.
 *  @example
 *  import { loadModel, trainExpert } from "skein";
 *
 *  const model = await loadModel("assets/demo-base");
 *  const training = [{ kind: "pair", input: "opposite : 1. hot", target: "1. cold" }] as const;
 *  const options = { steps: 2, batchSize: 1, rank: 4 };
 *  const adapter = await trainExpert({ model, tokenizer: await model.tokenizer(), training, options });
 *  console.log(adapter.kind, adapter.modules.size);
 *  await model.dispose(); */
export async function trainExpert(job: ExpertJob): Promise<Adapter> {
  const recipe = parseRecipe(expertRecipe, job.options ?? {});
  if (job.out) await checkFolder(job.out);
  return expertOf(job, recipe, freshAdapter(job.model, recipe));
}

/** Trains the expert that starts as `fresh`, and writes it where the job says. `passes`: of several experts that train at once. */
export async function expertOf(job: ExpertJob, recipe: ExpertRecipe, fresh: Adapter, passes?: Passes): Promise<Adapter> {
  const { model, out } = job;
  const { parameters, turnEnds: ends } = await learn(job, adapterLearner(model.base, fresh), recipe, { passes });
  const adapter = { ...withTensors(fresh, parameters), ...(ends.length > 0 && { turnEnds: ends }) };
  if (out) {
    const { base = model.base.checkpoint.directory } = job;
    await saveAdapter(out, adapter, {
      baseName: base,
      baseFingerprint: await model.base.fingerprint(),
      taskType: model.base.architecture.kind === "encoder-decoder" ? "SEQ_2_SEQ_LM" : "CAUSAL_LM",
    });
    await saveTurnEnds(
      out,
      ends.map((id) => ({ id, token: job.tokenizer.tokenText(id) })),
    );
    const { data } = job;
    await writeModelCard(out, { name: basename(resolve(out)), kind: recipe.kind, base, ...(data && { data }), steps: recipe.steps });
  }
  return adapter;
}

/** A new adapter, which changes nothing yet. */
export function freshAdapter(model: Model, recipe: ExpertRecipe): Adapter {
  const { kind, rank, alpha, seed, activation, placement } = recipe;
  const sizes = model.base.modules;
  if (kind === "ia3") {
    const targets = targetModules(model.base, recipe.targets ?? ia3Targets(model));
    return freshIa3(sizes, targets, new Set(targets.filter((module) => FEEDFORWARD_OUTPUT.test(module))));
  }
  const targets = targetModules(model.base, recipe.targets, { embeddings: kind === "lora" });
  if (kind === "bottleneck") return freshBottleneck(sizes, { targets, size: rank, activation, placement, seed });
  return freshLora(sizes, { targets, rank, scaling: alpha / rank, seed });
}

/** Keys, values and the last projection of the feed-forward layer, PEFT's defaults for (IA)3; every projection if the base has none of these. */
function ia3Targets(model: Model): string[] | undefined {
  const found = [...model.base.modules.keys()].filter((module) => KEYS_AND_VALUES.test(module) || FEEDFORWARD_OUTPUT.test(module));
  return found.length > 0 ? found : undefined;
}
const KEYS_AND_VALUES = /\.(?:k|v|k_proj|v_proj|c_attn)$/;
const FEEDFORWARD_OUTPUT = /\.(?:wo|down_proj|mlp\.c_proj)$/;

/** Trains gates for the expert in the folder `expert` (any PEFT adapter) and writes them there; or for an adapter in memory.
 *  @throws OptionError for options that make no sense, AdapterError for an adapter that does not fit the base, TrainingError and
 *  StoppedError as `trainExpert` does. */
export async function trainGate(job: GateJob): Promise<Gates> {
  const recipe = parseRecipe(gateRecipe, job.options ?? {});
  return gatesOf(job, recipe, await adapterOf(job));
}

/** The adapter that a job trains gates for. */
export async function adapterOf({ model, expert }: Pick<GateJob, "model" | "expert">): Promise<Adapter> {
  if (typeof expert !== "string") return expert;
  await checkFolder(expert);
  return loadAdapter(expert, model.base.modules, { fingerprint: await model.base.fingerprint() });
}

/** Trains gates for `adapter`, and writes them beside the job's expert. `passes`: of several experts that train at once. */
export async function gatesOf(job: GateJob, recipe: GateRecipe, adapter: Adapter, passes?: Passes): Promise<Gates> {
  const { model, expert } = job;
  const base = await model.base.fingerprint();
  const { parameters } = await learn(job, gateLearner(model.base, adapter), recipe, { passes });
  const gates = new Map([...adapter.modules.keys()].map((module) => [module, parameters.get(gateName(module))!]));
  if (typeof expert === "string") {
    const training = { steps: recipe.steps, lr: recipe.lr, seed: recipe.seed };
    await saveGates(expert, gates, { baseFingerprint: base, training });
    await noteGates(expert);
  }
  return gates;
}

/** Trains every tensor and, with `out`, writes a checkpoint there.
 *  @throws OptionError, TrainingError and StoppedError as `trainExpert` does. */
export async function trainFull(job: FullJob): Promise<Parameters> {
  const recipe = parseRecipe(fullRecipe, job.options ?? {});
  const { checkpoint, precision } = job.model.base;
  if (precision !== "float32") {
    throw new OptionError({
      code: "option-conflict",
      data: { options: ["precision", "full"] },
      what: `Every weight is to learn, and the base is loaded in ${precision}: weights in few bits are frozen.`,
      fix: "Load the base in float32, or train a LoRA.",
    });
  }
  if (job.out) await checkFolder(job.out);
  const initial = new Map<string, HostTensor<"float32">>();
  for (const [name, info] of checkpoint.tensors) initial.set(name, (await readTensor(info)) as HostTensor<"float32">);
  const { parameters } = await learn(job, fullLearner(job.model.base, initial), recipe);
  if (job.out) await saveCheckpoint(job.out, { config: checkpoint.config, tensors: parameters, copyFrom: checkpoint.directory });
  return parameters;
}

/** The modules that a recipe names; by default every projection except the head. Embeddings are allowed only with `embeddings`. */
export function targetModules(
  { modules }: Pick<Base, "modules">,
  targets: string | readonly string[] | undefined,
  { embeddings = false } = {},
): string[] {
  const all = [...modules.keys()].filter((module) => !modules.get(module)!.idle);
  if (targets === undefined || isAllLinear(targets)) return all.filter((module) => !modules.get(module)!.embedding && !HEAD.test(module));
  const chosen = all.filter(namesTest(targets, "targets"));
  const table = chosen.find((module) => modules.get(module)!.embedding);
  if (table !== undefined && !embeddings) {
    throw new OptionError({
      code: "option-not-for-model",
      data: { option: "targets", module: table },
      what: `targets name the embeddings ${table}, on which only a single LoRA can be trained.`,
      fix: 'Leave them out, or train a LoRA (`kind: "lora"` of trainExpert).',
    });
  }
  if (chosen.length > 0) return chosen;
  throw new OptionError({
    code: "option-unknown-module",
    data: { option: "targets", known: all },
    what: `No module of the base is named by targets ${JSON.stringify(targets)}.`,
    fix: `Name some of: ${all.slice(0, 12).join(", ")}, ...`,
  });
}
const HEAD = /(?:^|\.)lm_head$/;
