/** @file The training loop, for LoRA, gates and full fine-tuning alike. */

import { chunks } from "../base/chunks.ts";
import { EngineError } from "../base/errors.ts";
import { stopped } from "../base/stopped.ts";
import type { Architecture } from "../models/architecture.ts";
import { collate, type Encoded, exampleOrder, type TrainingBatch } from "./batches.ts";
import type { BatchSource } from "./example-stream.ts";
import type { Parameters } from "./learner.ts";
import type { Best, Run } from "./run.ts";
import { rateFactor, type Schedule } from "./schedule.ts";
import { diverged, type Trainer } from "./trainer.ts";

export interface LoopOptions {
  readonly steps: number;
  /** Sequences per optimizer step. */
  readonly batchSize: number;
  /** Sequences per pass of the graph; gradients are accumulated over the passes of a step. */
  readonly microBatchSize: number;
  readonly lr: number;
  readonly schedule: Schedule;
  readonly seed: number;
  /** Steps between validations, which may select parameters; the first is before step 1. 0 for never. */
  readonly validateEvery: number;
  /** Steps between saves of the state. */
  readonly saveEvery: number;
}
/** How far training has come. Losses are means over tokens, in nats. */
export interface Progress {
  readonly step: number;
  readonly steps: number;
  readonly loss: number;
  readonly lr: number;
  readonly tokensPerSecond: number;
  readonly secondsLeft: number;
  /** Latest validation loss. */
  readonly validation?: number;
}
/** Callbacks during training, and the signal that stops it. */
export interface LoopHooks {
  readonly onProgress?: (progress: Progress) => void;
  /** Aborting saves the state and throws an error that says how to resume. */
  readonly signal?: AbortSignal;
}
/** Also called after each step, which waits for it. */
export interface StepHooks extends LoopHooks {
  readonly afterStep?: (done: number) => Promise<void>;
}
export interface LoopData {
  readonly training: readonly Encoded[] | BatchSource;
  /** Without examples nothing is selected, and the last parameters are kept. */
  readonly validation: readonly Encoded[];
}

/** Trains and returns the parameters with the best validation loss (ties go to the later), or the last ones. */
export async function train(
  trainer: Trainer,
  architecture: Architecture,
  data: LoopData,
  options: LoopOptions,
  run?: Run,
  hooks: StepHooks = {},
): Promise<Parameters> {
  const { steps, batchSize, microBatchSize, lr, schedule, seed, validateEvery, saveEvery } = options;
  const { source, examplesOf } = batchesOf(data, seed);
  const validation = chunks(byLength(data.validation), microBatchSize).map((examples) => collate(examples, architecture));
  const restored = (await run?.restore(trainer)) ?? { step: 0 };
  if (restored.place !== undefined) source?.seek(restored.place);
  let best: Best | undefined = restored.best;
  const save = (step: number, place = source?.place) =>
    run?.save(step, trainer, { ...(best && { best }), ...(place !== undefined && { place }) });
  const clock = progressClock(restored.step, steps);

  const validate = async (step: number) => {
    const loss = await trainer.score(validation);
    if (!Number.isFinite(loss)) throw diverged(step, loss);
    await run?.log({ step, validationLoss: loss });
    if (best === undefined || loss <= best.loss) best = { step, loss, parameters: copied(await trainer.parameters()) };
    clock.validation = loss;
  };
  const validates = validation.length > 0 && validateEvery > 0;
  if (validates && restored.step === 0) await validate(0);

  for (let step = restored.step; step < steps; step++) {
    if (hooks.signal?.aborted) {
      await save(step);
      throw stopped({ work: "training", done: step, total: steps, parts: "steps", kept: run?.directory, option: "run" });
    }
    const place = source?.place; // of this step's examples
    const rate = lr * rateFactor(schedule, step, steps);
    const batches = chunks(byLength(await examplesOf(step, batchSize)), microBatchSize).map((examples) => collate(examples, architecture));
    const start = performance.now();
    const { loss, gradientNorm } = await trainer.step(step, rate, batches).catch(async (error: unknown) => {
      // The parameters are still those of the step before. A lost device cannot be read: then the last saved state stays.
      if (error instanceof EngineError) await save(step, place)?.catch(() => {});
      throw error;
    });
    const duration = performance.now() - start;
    const done = step + 1;
    await run?.log({ step: done, loss, lr: rate, gradientNorm });
    const saves = done % saveEvery === 0 || done === steps;
    if (validates && (done % validateEvery === 0 || done === steps)) await validate(done);
    else if (saves) await checkFinite(trainer, done, batches);
    if (saves) await save(done);
    const tokens = batches.reduce((sum, { feeds }) => sum + feeds.input_ids!.data.length + feeds.labels!.data.length, 0);
    hooks.onProgress?.({ step: done, steps, loss, lr: rate, ...clock.tick(done, tokens) });
    await hooks.afterStep?.(done);
    await source?.afterStep(duration);
  }
  await source?.finish();
  return best?.parameters ?? copied(await trainer.parameters());
}

/** Batches from a list depend on the step alone; those of a source are made one after another. */
function batchesOf({ training }: LoopData, seed: number) {
  if ("next" in training) return { source: training, examplesOf: (_: number, batchSize: number) => training.next(batchSize) };
  return { source: undefined, examplesOf: exampleOrder(training, seed) };
}

/** A step may have made the parameters useless: a state is saved only if its loss is still a number. */
async function checkFinite(trainer: Trainer, step: number, batches: readonly TrainingBatch[]): Promise<void> {
  const loss = await trainer.score(batches.slice(0, 1));
  if (!Number.isFinite(loss)) throw diverged(step, loss);
}

/** Sorted by length, so that a micro-batch has little padding. The order within a step does not change its gradient's expectation. */
function byLength(examples: readonly Encoded[]): Encoded[] {
  return [...examples].sort((a, b) => a.inputs.length + a.labels.length - b.inputs.length - b.labels.length);
}

function copied(parameters: Parameters): Parameters {
  return new Map([...parameters].map(([name, tensor]) => [name, { ...tensor, data: tensor.data.slice() }]));
}

function progressClock(first: number, steps: number) {
  const start = performance.now();
  let tokensSeen = 0;
  return {
    validation: undefined as number | undefined,
    tick(done: number, tokens: number) {
      tokensSeen += tokens;
      const seconds = (performance.now() - start) / 1000;
      const secondsLeft = (seconds / Math.max(1, done - first)) * (steps - done);
      return {
        tokensPerSecond: tokensSeen / seconds,
        secondsLeft,
        ...(this.validation === undefined ? {} : { validation: this.validation }),
      };
    },
  };
}
