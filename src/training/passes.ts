/** @file Passes of micro-batches through a learner's graphs: one gives the loss and the gradients, the other the loss alone. */

import { gradients } from "../autodiff/gradient.ts";
import { derivedSeed } from "../base/random.ts";
import type { HostTensor } from "../base/tensor.ts";
import { createGraph } from "../graph/graph.ts";
import { add } from "../graph/ops/elementwise.ts";
import type { Float, Graph } from "../graph/value.ts";
import type { Architecture } from "../models/architecture.ts";
import { logitsOf } from "../models/logits.ts";
import type { DeviceFeeds, DeviceTensor, Engine, Tensor } from "../runtime/engine.ts";
import { Session, type SessionOptions, standardEngine } from "../runtime/session.ts";
import type { TrainingBatch } from "./batches.ts";
import { type SeededDropout, seededDropout } from "./dropout.ts";
import type { Learner } from "./learner.ts";
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
  /** By parameter. Those on a device are the caller's to dispose of. */
  readonly gradients: ReadonlyMap<string, Tensor>;
}
/** What a scoring pass gives: the mean loss over this many real targets. */
export interface Score {
  readonly loss: number;
  readonly tokens: number;
}

/** Runs micro-batches with the given parameters. */
export interface Passes {
  /** The engine on whose device parameters and gradients stay; absent if they are on the host. */
  readonly keeps?: Engine | undefined;
  /** `seed` decides the dropout of the pass. */
  gradients(parameters: ReadonlyMap<string, Tensor>, batch: TrainingBatch, seed: readonly number[]): Promise<Gradients>;
  /** Without dropout. */
  score(parameters: ReadonlyMap<string, Tensor>, batch: TrainingBatch): Promise<Score>;
  dispose(): Promise<void>;
}

/** The seed of each row's dropout. */
export function rowSeeds(rows: number, seed: readonly number[]): number[] {
  return Array.from({ length: rows }, (_, row) => derivedSeed(...seed, row));
}

/** The name of a parameter's gradient among a graph's outputs. */
export const gradientName = (parameter: string) => `gradient of ${parameter}`;

/** The sessions of a learner's two graphs. */
export interface PassSessions {
  readonly engine: Engine;
  readonly training: Session;
  /** Opened at the first call: with a base in half precision every session holds a float32 copy of it, and a run without validation
   *  needs no second one. */
  scoring(): Promise<Session>;
  /** The dropout of the training graph. */
  readonly dropout: SeededDropout | undefined;
  dispose(): Promise<void>;
}
/** What the two graphs are made of. */
export interface PassGraphs {
  /** Begins the graphs' names. */
  readonly name?: string;
  /** The loss whose gradients are taken, after the graph's other outputs. */
  readonly loss: (graph: Graph, dropout?: SeededDropout) => Float;
  readonly parameters: (graph: Graph) => readonly Float[];
  /** Whether gradients stay on the device, if the engine has one. */
  readonly keeps?: boolean;
}

/** Builds and loads the graphs of a learner. */
export async function openSessions(
  architecture: Architecture,
  learner: Pick<Learner, "prepare" | "session">,
  options: PassOptions,
  { name = "", loss, parameters, keeps = false }: PassGraphs,
): Promise<PassSessions> {
  await learner.prepare?.();
  const rate = options.dropout ?? architecture.dropoutRate;
  const graph = createGraph(`${name}training`);
  const dropout = rate > 0 ? seededDropout(graph, rate) : undefined;
  const minimized = loss(graph, dropout);
  const learning = parameters(graph);
  gradients(minimized, learning).forEach((gradient, i) => {
    graph.output(gradientName(learning[i]!.name), gradient);
  });
  const session = { prepack: false, ...learner.session, ...options.session };
  const engine = session.engine ?? standardEngine();
  const kept = keeps && engine.capabilities.deviceTensors ? learning.map((parameter) => gradientName(parameter.name)) : [];
  let scoring: Promise<Session> | undefined;
  const openScoring = () => {
    const scoringGraph = createGraph(`${name}scoring`);
    loss(scoringGraph);
    return Session.load(scoringGraph, session);
  };
  const training = await Session.load(graph, { ...session, keep: kept });
  return {
    engine,
    training,
    scoring: () => {
      scoring ??= openScoring();
      return scoring;
    },
    dropout,
    dispose: async () => {
      await training.dispose();
      await (await scoring)?.dispose();
    },
  };
}

/** The passes of one learner. */
export async function openPasses(architecture: Architecture, learner: Learner, options: PassOptions): Promise<Passes> {
  const sessions = await openSessions(architecture, learner, options, {
    loss: (graph, dropout) => lossOf(graph, architecture, learner, options, dropout),
    parameters: (graph) => [...learner.initial].map(([name, { shape }]) => graph.float(name, ...shape)),
    keeps: true,
  });
  const { engine } = sessions;
  const isKeeping = engine.capabilities.deviceTensors;
  const frozen: Record<string, Tensor> = { ...learner.frozen };
  if (isKeeping) for (const [name, tensor] of Object.entries(learner.frozen)) frozen[name] = await engine.upload(tensor);
  const feedsOf = (values: ReadonlyMap<string, Tensor>, batch: TrainingBatch): DeviceFeeds => ({
    ...frozen,
    ...Object.fromEntries(values),
    ...batch.feeds,
  });
  const number = (tensor: HostTensor | undefined) => Number(tensor!.data[0]);
  return {
    keeps: isKeeping ? engine : undefined,
    gradients: async (values, batch, seed) => {
      const noise = sessions.dropout?.noise(batch.sizes, rowSeeds(batch.sizes.batch!, seed)) ?? {};
      const { fetched, kept } = await sessions.training.runKeeping({ ...feedsOf(values, batch), ...noise });
      const results: Readonly<Record<string, Tensor>> = isKeeping ? kept : fetched;
      const found = [...values.keys()].map((name) => [name, results[gradientName(name)]!] as const);
      return { loss: number(fetched.loss), gradients: new Map(found) };
    },
    score: async (values, batch) => {
      const { loss: mean, tokens } = await (await sessions.scoring()).run(feedsOf(values, batch));
      return { loss: number(mean), tokens: number(tokens) };
    },
    dispose: async () => {
      if (isKeeping) for (const tensor of Object.values(frozen)) (tensor as DeviceTensor).dispose();
      await sessions.dispose();
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
