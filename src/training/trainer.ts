/** @file The training graph and one optimizer step: forward, backward, accumulation, clipping, AdamW. */

import { gradients } from "../autodiff/gradient.ts";
import { TrainingError } from "../base/errors.ts";
import { float32, type HostTensor } from "../base/tensor.ts";
import { createGraph } from "../graph/graph.ts";
import { add } from "../graph/ops/elementwise.ts";
import type { Float, Graph } from "../graph/value.ts";
import type { Architecture } from "../models/architecture.ts";
import { logitsOf } from "../models/logits.ts";
import { type Feeds, Session, type SessionOptions } from "../runtime/session.ts";
import { type AdamWOptions, type AdamWState, accumulate, adamwStep, globalNorm, scale } from "./adamw.ts";
import type { TrainingBatch } from "./batches.ts";
import { type SeededDropout, seededDropout } from "./dropout.ts";
import type { Learner, Parameters } from "./learner.ts";
import { crossEntropy, labelsOf } from "./loss.ts";

export interface TrainerOptions {
  /** Probability of dropout; the model's own when absent, 0 for none. */
  readonly dropout?: number;
  /** Largest global norm of the gradients (default 1). */
  readonly clip?: number;
  readonly adamw?: AdamWOptions;
  readonly seed: number;
  readonly session?: SessionOptions;
  /** Several documents share a row; batches contain their positions. */
  readonly packed?: boolean;
}
export interface StepResult {
  /** Mean of the micro-batches' losses, before the step. */
  readonly loss: number;
  /** Global norm of the gradients before clipping. */
  readonly gradientNorm: number;
}

const gradientName = (parameter: string) => `gradient of ${parameter}`;

interface TrainerParts {
  readonly training: Session;
  readonly openScoring: () => Promise<Session>;
  readonly dropout: SeededDropout | undefined;
}

/** Holds the sessions and the parameters during training. */
export class Trainer {
  readonly state: ReadonlyMap<string, AdamWState>;
  readonly #shapes: ReadonlyMap<string, readonly number[]>;
  readonly #frozen: Feeds;
  readonly #options: TrainerOptions;
  readonly #training: Session;
  readonly #openScoring: () => Promise<Session>;
  #scoring: Promise<Session> | undefined;
  readonly #dropout: SeededDropout | undefined;
  readonly #sums: ReadonlyMap<string, Float32Array>;

  private constructor(learner: Learner, options: TrainerOptions, { training, openScoring, dropout }: TrainerParts) {
    this.#options = options;
    this.#frozen = learner.frozen;
    this.#training = training;
    this.#openScoring = openScoring;
    this.#dropout = dropout;
    this.#shapes = new Map([...learner.initial].map(([name, { shape }]) => [name, shape]));
    this.state = new Map(
      [...learner.initial].map(([name, { data }]) => [
        name,
        { value: data.slice(), m: new Float32Array(data.length), v: new Float32Array(data.length) },
      ]),
    );
    this.#sums = new Map([...learner.initial].map(([name, { data }]) => [name, new Float32Array(data.length)]));
  }

  static async create(architecture: Architecture, learner: Learner, options: TrainerOptions): Promise<Trainer> {
    await learner.prepare?.();
    const rate = options.dropout ?? architecture.dropoutRate;
    const training = createGraph("training");
    const dropout = rate > 0 ? seededDropout(training, rate) : undefined;
    const loss = lossOf(training, architecture, learner, options, dropout);
    const parameters = [...learner.initial].map(([name, { shape }]) => training.float(name, ...shape));
    gradients(loss, parameters).forEach((gradient, i) => {
      training.output(gradientName(parameters[i]!.name), gradient);
    });
    // Packed copies of float weights would double the memory without a gain at the batch sizes of training. 8-bit weights without a packed
    // copy are packed again at every run, and a step takes 1.6 times as long.
    const session = { prepack: learner.isQuantized ?? false, ...options.session };
    // Opened at first use: with a base in half precision every session holds a float32 copy.
    const openScoring = () => {
      const scoring = createGraph("scoring");
      lossOf(scoring, architecture, learner, options);
      return Session.load(scoring, session);
    };
    return new Trainer(learner, options, { training: await Session.load(training, session), openScoring, dropout });
  }

  /** Mean loss over the real targets of the batches, without dropout. */
  async score(batches: Iterable<TrainingBatch>): Promise<number> {
    this.#scoring ??= this.#openScoring();
    const scoring = await this.#scoring;
    let [sum, count] = [0, 0];
    for (const batch of batches) {
      const { loss, tokens } = await scoring.run({ ...this.#frozen, ...this.#feeds(), ...batch.feeds });
      const n = Number(tokens!.data[0]);
      sum += Number(loss!.data[0]) * n;
      count += n;
    }
    return sum / count;
  }

  /** One optimizer step over the micro-batches, which all have the same weight, as in the authors' code. `step` counts from 0. */
  async step(step: number, lr: number, microBatches: readonly TrainingBatch[]): Promise<StepResult> {
    for (const sum of this.#sums.values()) sum.fill(0);
    let loss = 0;
    for (const [index, batch] of microBatches.entries()) {
      const noise = this.#dropout?.noise(batch.sizes, this.#options.seed, step, index) ?? {};
      const results = await this.#training.run({ ...this.#frozen, ...this.#feeds(), ...batch.feeds, ...noise });
      loss += Number(results.loss!.data[0]) / microBatches.length;
      for (const [name, sum] of this.#sums) accumulate(sum, results[gradientName(name)]!.data as Float32Array, 1 / microBatches.length);
    }
    const gradientNorm = globalNorm(this.#sums.values());
    if (!Number.isFinite(loss) || !Number.isFinite(gradientNorm)) throw diverged(step, loss);
    // The authors clip like torch, with 1e-6 added to the norm.
    const factor = Math.min(1, (this.#options.clip ?? 1) / (gradientNorm + 1e-6));
    for (const [name, sum] of this.#sums) {
      if (factor < 1) scale(sum, factor);
      adamwStep(this.state.get(name)!, sum, lr, step + 1, this.#options.adamw);
    }
    return { loss, gradientNorm };
  }

  /** The current parameters; the arrays are the trainer's own, not copies. */
  get parameters(): Parameters {
    return new Map([...this.state].map(([name, { value }]) => [name, float32(this.#shapes.get(name)!, value)]));
  }

  #feeds(): Record<string, HostTensor> {
    return Object.fromEntries(this.parameters);
  }

  async dispose(): Promise<void> {
    await this.#training.dispose();
    await (await this.#scoring)?.dispose();
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }
}

function lossOf(graph: Graph, architecture: Architecture, learner: Learner, { packed }: TrainerOptions, dropout?: SeededDropout): Float {
  const built = learner.build(graph);
  const logits = logitsOf(graph, architecture, { ...built, ...(dropout ? { dropout: dropout.apply } : {}), ...(packed ? { packed } : {}) });
  const { mean, count } = crossEntropy(logits, labelsOf(graph, architecture));
  const extra = built.extraLoss?.();
  const loss = extra ? (built.textTeaches === false ? extra : add(mean, extra)) : mean;
  graph.output("loss", loss);
  graph.output("tokens", count);
  return loss;
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
