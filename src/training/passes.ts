/** @file Passes of micro-batches through a learner's graphs: one gives the loss and the gradients, the other the loss alone. */

import { gradients } from "../autodiff/gradient.ts";
import { derivedSeed } from "../base/random.ts";
import type { HostTensor } from "../base/tensor.ts";
import { createGraph } from "../graph/graph.ts";
import { add } from "../graph/ops/elementwise.ts";
import type { Float, Graph } from "../graph/value.ts";
import type { Architecture } from "../models/architecture.ts";
import { logitsOf } from "../models/logits.ts";
import { Session, type SessionOptions } from "../runtime/session.ts";
import type { TrainingBatch } from "./batches.ts";
import { type SeededDropout, seededDropout } from "./dropout.ts";
import type { Learner, Parameters } from "./learner.ts";
import { crossEntropy, labelsOf } from "./loss.ts";

export interface PassOptions {
  /** Probability of dropout; the model's own when absent, 0 for none. */
  readonly dropout?: number;
  readonly session?: SessionOptions;
  /** Several documents share a row; batches contain their positions. */
  readonly packed?: boolean;
}
/** What a training pass gives. */
export interface Gradients {
  /** Mean over the real targets. */
  readonly loss: number;
  /** By parameter. */
  readonly gradients: ReadonlyMap<string, Float32Array>;
}
/** What a scoring pass gives: the mean loss over this many real targets. */
export interface Score {
  readonly loss: number;
  readonly tokens: number;
}

/** Runs micro-batches with the given parameters. */
export interface Passes {
  /** `seed` decides the dropout of the pass. */
  gradients(parameters: Parameters, batch: TrainingBatch, seed: readonly number[]): Promise<Gradients>;
  /** Without dropout. */
  score(parameters: Parameters, batch: TrainingBatch): Promise<Score>;
  dispose(): Promise<void>;
}

/** The seed of each row's dropout. */
export function rowSeeds(rows: number, seed: readonly number[]): number[] {
  return Array.from({ length: rows }, (_, row) => derivedSeed(...seed, row));
}

/** The name of a parameter's gradient among a graph's outputs. */
export const gradientName = (parameter: string) => `gradient of ${parameter}`;

/** How a learner's graphs are loaded; the options go first. */
export function passSession({ session }: Pick<Learner, "session">, options: PassOptions): SessionOptions {
  return { prepack: false, ...session, ...options.session };
}

/** Calls `open` at the first call. With a base in half precision every session holds a float32 copy of it, so that a run without
 *  validation has no second one. */
export function openedOnce(open: () => Promise<Session>): { get(): Promise<Session>; dispose(): Promise<void> } {
  let session: Promise<Session> | undefined;
  return {
    get: () => {
      session ??= open();
      return session;
    },
    dispose: async () => (await session)?.dispose(),
  };
}

/** The passes of one learner. */
export async function openPasses(architecture: Architecture, learner: Learner, options: PassOptions): Promise<Passes> {
  await learner.prepare?.();
  const rate = options.dropout ?? architecture.dropoutRate;
  const graph = createGraph("training");
  const dropout = rate > 0 ? seededDropout(graph, rate) : undefined;
  const loss = lossOf(graph, architecture, learner, options, dropout);
  const parameters = [...learner.initial].map(([name, { shape }]) => graph.float(name, ...shape));
  gradients(loss, parameters).forEach((gradient, i) => {
    graph.output(gradientName(parameters[i]!.name), gradient);
  });
  const session = passSession(learner, options);
  const training = await Session.load(graph, session);
  const scoring = openedOnce(() => {
    const scoringGraph = createGraph("scoring");
    lossOf(scoringGraph, architecture, learner, options);
    return Session.load(scoringGraph, session);
  });
  const feedsOf = (values: Parameters, batch: TrainingBatch) => ({ ...learner.frozen, ...Object.fromEntries(values), ...batch.feeds });
  const number = (tensor: HostTensor | undefined) => Number(tensor!.data[0]);
  return {
    gradients: async (values, batch, seed) => {
      const noise = dropout?.noise(batch.sizes, rowSeeds(batch.sizes.batch!, seed)) ?? {};
      const results = await training.run({ ...feedsOf(values, batch), ...noise });
      const found = [...values.keys()].map((name) => [name, results[gradientName(name)]!.data as Float32Array] as const);
      return { loss: number(results.loss), gradients: new Map(found) };
    },
    score: async (values, batch) => {
      const { loss: mean, tokens } = await (await scoring.get()).run(feedsOf(values, batch));
      return { loss: number(mean), tokens: number(tokens) };
    },
    dispose: async () => {
      await training.dispose();
      await scoring.dispose();
    },
  };
}

function lossOf(graph: Graph, architecture: Architecture, learner: Learner, { packed }: PassOptions, dropout?: SeededDropout): Float {
  const built = learner.build(graph);
  const logits = logitsOf(graph, architecture, { ...built, ...(dropout ? { dropout: dropout.apply } : {}), ...(packed ? { packed } : {}) });
  const { mean, count } = crossEntropy(logits, labelsOf(graph, architecture));
  const extra = built.extraLoss?.();
  const loss = extra ? (built.textTeaches === false ? extra : add(mean, extra)) : mean;
  graph.output("loss", loss);
  graph.output("tokens", count);
  return loss;
}
