/** @file Gathers the data of the Average Activation router: the mean input of every module that an expert covers, over its
 *  examples, with the expert active (methods/average-activation.ts has the equations). */

import type { Adapter } from "../adapters/adapter.ts";
import { adapted, adapterTensors } from "../adapters/in-graph.ts";
import { needInputs } from "../adapters/modules.ts";
import { chunks } from "../base/chunks.ts";
import { DataError } from "../base/errors.ts";
import { float32, type HostTensor, int64 } from "../base/tensor.ts";
import { createGraph } from "../graph/graph.ts";
import type { Float, Graph } from "../graph/value.ts";
import type { Model } from "../inference/model.ts";
import { meanOfTokens } from "../methods/average-activation.ts";
import type { Architecture } from "../models/architecture.ts";
import type { Linear } from "../models/linear.ts";
import { logitsOf } from "../models/logits.ts";
import { type Feeds, Session } from "../runtime/session.ts";
import { collate, type Encoded } from "./batches.ts";
import { trainingSession } from "./learner.ts";

/** The authors' number of examples (max_examples_per_dataset, reinit_router_embedding.sh:103). */
export const MOST_GATHERED_EXAMPLES = 1000;

export interface ActivationOptions {
  /** Which tokens of the decoder count: all targets (default), or only the last, as in the authors' code. */
  readonly positions?: "all" | "last";
  readonly batchSize?: number;
}

/** The mean input [in] of each module that `adapter` covers, over at most MOST_GATHERED_EXAMPLES examples, each counting once. */
export async function averageActivations(
  model: Model,
  adapter: Adapter,
  examples: readonly Encoded[],
  { positions = "all", batchSize = 16 }: ActivationOptions = {},
): Promise<Map<string, HostTensor<"float32">>> {
  needInputs(adapter, "The expert");
  const used = examples.slice(0, MOST_GATHERED_EXAMPLES);
  if (used.length === 0)
    throw new DataError({ code: "data-empty", what: "There are no examples to gather activations from.", fix: "Give at least one." });
  await using session = await Session.load(activationGraph(model, adapter), { ...trainingSession(model.base), prepack: false });
  const sums = new Map([...adapter.modules.keys()].map((module) => [module, new Float64Array(model.base.modules.get(module)!.in)]));
  for (const part of chunks(used, batchSize)) {
    const results = await session.run({
      ...Object.fromEntries(adapterTensors(adapter)),
      ...countedFeeds(part, model.base.architecture, positions),
    });
    for (const [module, sum] of sums) {
      const { data } = results[module] as HostTensor<"float32">;
      for (let i = 0; i < data.length; i++) sum[i % sum.length]! += data[i]! / used.length;
    }
  }
  return new Map([...sums].map(([module, sum]) => [module, float32([sum.length], Float32Array.from(sum))]));
}

/** The graph whose fetches are every row's mean input at each module, by the module's name: [batch, in]. */
function activationGraph(model: Model, adapter: Adapter): Graph {
  const graph = createGraph("activations");
  const base = model.base.seams(graph);
  const worn = adapted(base, adapter, model.base.modules);
  const linear: Linear = (x, module, projection) => {
    if (adapter.modules.has(module)) graph.output(module, meanOfTokens(x, countedTokens(x)));
    return worn.linear(x, module, projection);
  };
  logitsOf(graph, model.base.architecture, { ...base, ...worn, linear });
  return graph;
}

/** int64 [batch, sequence or targets] */
function countedTokens({ graph, shape }: Float) {
  const size = shape[1]!;
  return graph.int(`counted.${size}`, "batch", size);
}

function countedFeeds(examples: readonly Encoded[], architecture: Architecture, positions: "all" | "last"): Feeds {
  const { feeds } = collate(examples, architecture);
  const counted = (lengths: readonly number[], onlyLast: boolean) => {
    const width = Math.max(...lengths);
    return int64(
      [lengths.length, width],
      lengths.flatMap((length) => Array.from({ length: width }, (_, i) => (i < length && (!onlyLast || i === length - 1) ? 1 : 0))),
    );
  };
  const inputs = examples.map((example) => example.inputs.length);
  const last = positions === "last";
  if (architecture.kind === "decoder-only") return { ...feeds, "counted.sequence": counted(inputs, last) };
  const targets = examples.map((example) => example.labels.length);
  return { ...feeds, "counted.sequence": counted(inputs, false), "counted.targets": counted(targets, last) };
}
