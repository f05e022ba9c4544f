/** @file Gates after several numbers of steps, from one run.
 *
 *  The learning rate of gates is constant after its warm-up, so one long run passes through the results of shorter ones. They differ
 *  from separate runs only where the warm-up differs. */

import type { Expert, Gates } from "../adapters/expert.ts";
import { gateName } from "../adapters/lora.ts";
import { invariant } from "../base/errors.ts";
import { derivedSeed } from "../base/random.ts";
import { float32 } from "../base/tensor.ts";
import type { TrainingExample } from "../data/training-data.ts";
import type { Model } from "../inference/model.ts";
import { readGates, saveGates } from "../storage/expert.ts";
import { exists } from "../storage/files.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { encodeExamples } from "../training/examples.ts";
import { gateLearner } from "../training/learner.ts";
import { type LoopHooks, train } from "../training/loop.ts";
import { type GateOptions, gateRecipe, parseRecipe } from "../training/recipe.ts";
import { Trainer } from "../training/trainer.ts";

export interface SnapshotJob {
  readonly model: Model;
  readonly tokenizer: Tokenizer;
  readonly expert: Expert;
  readonly training: readonly TrainingExample[];
  readonly options: GateOptions;
  /** Numbers of steps, up to those of `options`. */
  readonly snapshots: readonly number[];
  /** The folder of the gates after so many steps. */
  readonly folder: (steps: number) => string;
  readonly hooks: LoopHooks;
}

/** The gates by their steps: read if all exist, else trained and written. */
export async function gateSnapshots(job: SnapshotJob): Promise<Map<number, Gates>> {
  const { expert, model, snapshots, folder } = job;
  const covered = new Set(expert.adapter.modules.keys());
  const found = new Map<number, Gates>();
  for (const steps of snapshots) {
    if (!(await exists(folder(steps)))) continue;
    const known = await readGates(folder(steps), covered, model.base.modules);
    if (known) found.set(steps, known.gates);
  }
  if (found.size === snapshots.length) return found;
  const trained = await trainedGates(job);
  for (const [steps, gates] of trained) await saveGates(folder(steps), gates, { training: { steps } });
  return trained;
}

async function trainedGates({ model, tokenizer, expert, training, options, snapshots, hooks }: SnapshotJob): Promise<Map<number, Gates>> {
  const { architecture } = model.base;
  const recipe = parseRecipe(gateRecipe, options);
  const limits = { maxInput: recipe.maxLength, maxTarget: recipe.maxLength };
  const { examples } = encodeExamples(training, tokenizer, architecture, limits);
  await using trainer = await Trainer.create(architecture, gateLearner(model.base, expert.adapter), {
    clip: recipe.clip,
    adamw: { weightDecay: recipe.weightDecay },
    seed: derivedSeed(recipe.seed, "dropout"),
  });
  const found = new Map<number, Gates>();
  const afterStep = async (done: number) => {
    if (!snapshots.includes(done)) return;
    const parameters = await trainer.parameters();
    const copied = [...expert.adapter.modules.keys()].map((module) => {
      const gate = parameters.get(gateName(module));
      invariant(gate, "every adapted module has a gate");
      return [module, float32(gate.shape, gate.data.slice())] as const;
    });
    found.set(done, new Map(copied));
  };
  await afterStep(0);
  await train(trainer, architecture, { training: examples, validation: [] }, recipe, undefined, { ...hooks, afterStep });
  return found;
}
