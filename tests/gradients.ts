/** @file For tests: the training loss and its gradients at a learner's starting point. */

import { gradients } from "../src/autodiff/gradient.ts";
import { type HostTensor, int64 } from "../src/base/tensor.ts";
import { createGraph } from "../src/graph/graph.ts";
import type { Float, Graph } from "../src/graph/value.ts";
import type { Model } from "../src/inference/model.ts";
import type { Architecture } from "../src/models/architecture.ts";
import { logitsOf } from "../src/models/logits.ts";
import { Session, type SessionOptions } from "../src/runtime/session.ts";
import type { TrainingBatch } from "../src/training/batches.ts";
import type { Learner } from "../src/training/learner.ts";
import { crossEntropy, IGNORED } from "../src/training/loss.ts";

/** Logits [batch, sequence or targets, vocabulary] of the model with the learner woven in. */
export type Forward = (graph: Graph, architecture: Architecture, built: ReturnType<Learner["build"]>) => Float;

export interface Differentiated {
  readonly loss: number;
  /** [batch, sequence or targets], 0 where nothing is learned. */
  readonly perToken: HostTensor<"float32">;
  /** By parameter name. */
  readonly gradients: ReadonlyMap<string, HostTensor<"float32">>;
}

/** The forward of rows that hold several documents. */
export const packedForward: Forward = (graph, architecture, built) => logitsOf(graph, architecture, { ...built, packed: true });

/** Loss and gradients at the learner's starting values. */
export async function differentiated(
  model: Model,
  learner: Learner,
  batch: TrainingBatch,
  forward: Forward = logitsOf,
  options: SessionOptions = {},
): Promise<Differentiated> {
  const graph = createGraph("gradients");
  const { architecture } = model.base;
  const labels = graph.int("labels", "batch", architecture.kind === "encoder-decoder" ? "targets" : "sequence");
  const { mean, perToken } = crossEntropy(forward(graph, architecture, learner.build(graph)), labels);
  graph.output("loss", mean);
  graph.output("per token", perToken);
  const names = [...learner.initial.keys()];
  const parameters = names.map((name) => graph.float(name, ...learner.initial.get(name)!.shape));
  gradients(mean, parameters).forEach((gradient, i) => {
    graph.output(`d ${names[i]}`, gradient);
  });
  await using session = await Session.load(graph, options);
  const results = await session.run({ ...batch.feeds, ...learner.frozen, ...Object.fromEntries(learner.initial) });
  const float = (name: string) => results[name] as HostTensor<"float32">;
  return {
    loss: float("loss").data[0]!,
    perToken: float("per token"),
    gradients: new Map(names.map((name) => [name, float(`d ${name}`)])),
  };
}

/** Converts Hugging Face's labels, at the token itself, to Skein's, at the token before. [batch, sequence] -> the same */
export function shiftedLabels({ shape, data }: HostTensor<"int64">): HostTensor<"int64"> {
  const width = shape[1]!;
  return int64(
    shape,
    data.map((_, i) => ((i + 1) % width === 0 ? BigInt(IGNORED) : data[i + 1]!)),
  );
}
