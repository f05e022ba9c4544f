/** @file Runs LoraHub: computes the loss of a few examples for a combination of experts, and searches over it (routing/lorahub.ts). */

import type { LoraAdapter } from "../adapters/adapter.ts";
import type { Expert } from "../adapters/expert.ts";
import { adapted, adapterTensors } from "../adapters/in-graph.ts";
import { chunks } from "../base/chunks.ts";
import { PoolError } from "../base/errors.ts";
import type { HostTensor } from "../base/tensor.ts";
import { createGraph } from "../graph/graph.ts";
import type { Graph } from "../graph/value.ts";
import type { Base } from "../inference/base.ts";
import type { Model } from "../inference/model.ts";
import { logitsOf } from "../models/logits.ts";
import { combinedLora, type Found, type SearchOptions, searchWeights } from "../routing/lorahub.ts";
import { Session } from "../runtime/session.ts";
import { collate, type Encoded } from "./batches.ts";
import { trainingSession } from "./learner.ts";
import { crossEntropy } from "./loss.ts";

/** The weights that LoraHub found, and the adapter they make. */
export interface LorahubResult extends Found {
  /** One adapter with the weighted sums of the experts' factors. */
  readonly adapter: LoraAdapter;
}

const BATCH = 16;

/** Finds one weight per expert by the mean cross-entropy of the examples' targets; returns the weights and the combined adapter.
 *  @throws PoolError without experts or examples. */
export async function lorahub(
  model: Model,
  experts: readonly Expert[],
  examples: readonly Encoded[],
  options: SearchOptions = {},
): Promise<LorahubResult> {
  if (experts.length === 0 || examples.length === 0) {
    const what = `LoraHub was given ${experts.length} experts and ${examples.length} examples.`;
    throw new PoolError({
      code: "pool-nothing-to-combine",
      what,
      fix: "Give at least one of each; the paper uses 20 experts and 5 examples.",
    });
  }
  const template = combinedLora(
    experts,
    experts.map(() => 0),
  );
  await using session = await Session.load(lossGraph(model.base, template), { ...trainingSession(model.base), prepack: false });
  const batches = chunks(examples, BATCH).map((part) => collate(part, model.base.architecture).feeds);
  const loss = async (weights: readonly number[]) => {
    const tensors = Object.fromEntries(adapterTensors(combinedLora(experts, weights)));
    let [sum, count] = [0, 0];
    for (const feeds of batches) {
      const results = await session.run({ ...tensors, ...feeds });
      const [mean, tokens] = [results.loss, results.tokens].map((tensor) => Number((tensor as HostTensor).data[0]));
      sum += mean! * tokens!;
      count += tokens!;
    }
    return sum / count;
  };
  const found = await searchWeights(loss, experts.length, options);
  return { ...found, adapter: combinedLora(experts, found.weights) };
}

function lossGraph({ architecture, modules, seams }: Base, adapter: LoraAdapter): Graph {
  const graph = createGraph("lorahub");
  const base = seams(graph);
  const logits = logitsOf(graph, architecture, { ...base, ...adapted(base, adapter, modules) });
  const labels = graph.int("labels", "batch", architecture.kind === "encoder-decoder" ? "targets" : "sequence");
  const { mean, count } = crossEntropy(logits, labels);
  graph.output("loss", mean);
  graph.output("tokens", count);
  return graph;
}
