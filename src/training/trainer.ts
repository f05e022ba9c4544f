/** @file One optimizer step over micro-batches: accumulation, clipping, AdamW. */

import { TrainingError } from "../base/errors.ts";
import type { Architecture } from "../models/architecture.ts";
import type { AdamWOptions } from "./adamw.ts";
import type { TrainingBatch } from "./batches.ts";
import { DeviceOptimizer } from "./device-optimizer.ts";
import type { Learner, Parameters } from "./learner.ts";
import { HostOptimizer, type Optimizer, type OptimizerState } from "./optimizer.ts";
import { openPasses, type Passes, type PassOptions } from "./passes.ts";

export interface StepOptions {
  /** Largest global norm of the gradients (default 1). */
  readonly clip?: number;
  readonly adamw?: AdamWOptions;
  /** Decides the dropout. */
  readonly seed: number;
}
export interface TrainerOptions extends StepOptions, PassOptions {}
export interface StepResult {
  /** Mean of the micro-batches' losses, before the step. */
  readonly loss: number;
  /** Global norm of the gradients before clipping. */
  readonly gradientNorm: number;
}

/** Takes the steps of training. Its optimizer holds the parameters. */
export class Trainer {
  readonly #optimizer: Optimizer;
  readonly #options: StepOptions;
  readonly #passes: Passes;

  private constructor(optimizer: Optimizer, passes: Passes, options: StepOptions) {
    this.#optimizer = optimizer;
    this.#options = options;
    this.#passes = passes;
  }

  /** Starts at `initial`. Disposing the trainer disposes `passes`. */
  static async over(passes: Passes, initial: Parameters, options: StepOptions): Promise<Trainer> {
    const optimizer = passes.keeps ? await DeviceOptimizer.of(passes.keeps, initial) : new HostOptimizer(initial);
    return new Trainer(optimizer, passes, options);
  }

  /** A trainer with its own sessions. */
  static async create(architecture: Architecture, learner: Learner, options: TrainerOptions): Promise<Trainer> {
    return Trainer.over(await openPasses(architecture, learner, options), learner.initial, options);
  }

  /** Mean loss over the real targets of the batches, without dropout. */
  async score(batches: Iterable<TrainingBatch>): Promise<number> {
    let [sum, count] = [0, 0];
    for (const batch of batches) {
      const { loss, tokens } = await this.#passes.score(this.#optimizer.parameters, batch);
      sum += loss * tokens;
      count += tokens;
    }
    return sum / count;
  }

  /** One optimizer step over the micro-batches, which all have the same weight, as in the authors' code. `step` counts from 0. */
  async step(step: number, lr: number, microBatches: readonly TrainingBatch[]): Promise<StepResult> {
    const { seed, clip = 1, adamw = {} } = this.#options;
    const share = 1 / microBatches.length;
    let loss = 0;
    for (const [index, batch] of microBatches.entries()) {
      const found = await this.#passes.gradients(this.#optimizer.parameters, batch, [seed, step, index]);
      loss += found.loss * share;
      await this.#optimizer.add(found.gradients, share);
    }
    if (!Number.isFinite(loss)) throw diverged(step, loss);
    const gradientNorm = await this.#optimizer.step({ step: step + 1, lr, clip, adamw });
    if (!Number.isFinite(gradientNorm)) throw diverged(step, loss);
    return { loss, gradientNorm };
  }

  /** The current parameters on the host; without a device these are the trainer's own arrays, not copies. */
  async parameters(): Promise<Parameters> {
    return new Map([...(await this.#optimizer.read())].map(([name, { value }]) => [name, value]));
  }
  /** The current parameters and their moments, as `parameters`. */
  async state(): Promise<OptimizerState> {
    return this.#optimizer.read();
  }
  /** Goes on from a state. */
  async restore(state: OptimizerState): Promise<void> {
    await this.#optimizer.load(state);
  }

  async dispose(): Promise<void> {
    this.#optimizer.dispose();
    await this.#passes.dispose();
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }
}

/** The error for a loss that is not a number after `step` steps. */
export function diverged(step: number, loss: number): TrainingError {
  return new TrainingError({
    code: "training-diverged",
    data: { done: step },
    what: `Training has diverged: after ${step} steps the loss is ${loss}.`,
    fix:
      "Try a lower learning rate (`lr`) or a longer warm-up (`schedule.warmupRatio`) in another `run` folder, or look for broken " +
      "examples in the data. This run's folder keeps the last good state and what led here (metrics.jsonl).",
  });
}
