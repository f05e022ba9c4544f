/** @file One optimizer step over micro-batches: accumulation, clipping, AdamW. It holds the parameters and their moments. */

import { TrainingError } from "../base/errors.ts";
import { float32 } from "../base/tensor.ts";
import type { Architecture } from "../models/architecture.ts";
import { type AdamWOptions, type AdamWState, accumulate, adamwStep, globalNorm, scale } from "./adamw.ts";
import type { TrainingBatch } from "./batches.ts";
import type { Learner, Parameters } from "./learner.ts";
import { type Gradients, openPasses, type Passes, type PassOptions } from "./passes.ts";

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

/** Holds the parameters during training. */
export class Trainer {
  readonly state: ReadonlyMap<string, AdamWState>;
  readonly #shapes: ReadonlyMap<string, readonly number[]>;
  readonly #options: StepOptions;
  readonly #passes: Passes;

  /** Starts at `initial`. Disposing the trainer disposes `passes`. */
  constructor(initial: Parameters, passes: Passes, options: StepOptions) {
    this.#options = options;
    this.#passes = passes;
    this.#shapes = new Map([...initial].map(([name, { shape }]) => [name, shape]));
    this.state = new Map(
      [...initial].map(([name, { data }]) => [
        name,
        { value: data.slice(), m: new Float32Array(data.length), v: new Float32Array(data.length) },
      ]),
    );
  }

  /** A trainer with its own sessions. */
  static async create(architecture: Architecture, learner: Learner, options: TrainerOptions): Promise<Trainer> {
    return new Trainer(learner.initial, await openPasses(architecture, learner, options), options);
  }

  /** Mean loss over the real targets of the batches, without dropout. */
  async score(batches: Iterable<TrainingBatch>): Promise<number> {
    let [sum, count] = [0, 0];
    for (const batch of batches) {
      const { loss, tokens } = await this.#passes.score(this.parameters, batch);
      sum += loss * tokens;
      count += tokens;
    }
    return sum / count;
  }

  /** One optimizer step over the micro-batches, which all have the same weight, as in the authors' code. `step` counts from 0. */
  async step(step: number, lr: number, microBatches: readonly TrainingBatch[]): Promise<StepResult> {
    const { loss, gradients } = await this.#gradients(step, microBatches);
    const gradientNorm = globalNorm(gradients.values());
    if (!Number.isFinite(loss) || !Number.isFinite(gradientNorm)) throw diverged(step, loss);
    // The authors clip like torch, with 1e-6 added to the norm.
    const factor = Math.min(1, (this.#options.clip ?? 1) / (gradientNorm + 1e-6));
    for (const [name, gradient] of gradients) {
      if (factor < 1) scale(gradient, factor);
      adamwStep(this.state.get(name)!, gradient, lr, step + 1, this.#options.adamw);
    }
    return { loss, gradientNorm };
  }

  /** The means over the micro-batches. */
  async #gradients(step: number, microBatches: readonly TrainingBatch[]): Promise<Gradients> {
    const pass = (batch: TrainingBatch, index: number) => this.#passes.gradients(this.parameters, batch, [this.#options.seed, step, index]);
    const share = 1 / microBatches.length;
    let loss = 0;
    const sums = new Map<string, Float32Array>();
    for (const [index, batch] of microBatches.entries()) {
      const found = await pass(batch, index);
      if (share === 1) return found;
      loss += found.loss * share;
      for (const [name, gradient] of found.gradients) {
        const sum = sums.get(name) ?? new Float32Array(gradient.length);
        accumulate(sum, gradient, share);
        sums.set(name, sum);
      }
    }
    return { loss, gradients: sums };
  }

  /** The current parameters; the arrays are the trainer's own, not copies. */
  get parameters(): Parameters {
    return new Map([...this.state].map(([name, { value }]) => [name, float32(this.#shapes.get(name)!, value)]));
  }

  async dispose(): Promise<void> {
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
