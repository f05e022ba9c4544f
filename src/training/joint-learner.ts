/** @file LoRAs or gates of several experts in one training graph. Each row of a batch belongs to one expert, and every expert has the same
 *  number of rows; rows of one expert are adjacent. The base's products run over all rows, and each expert's update over its own:
 *
 *      y = W x + [scaling B_e A_e x_e for each expert e],   x: [experts*rows, sequence, in], x_e: [rows*sequence, in] */

import type { LoraAdapter } from "../adapters/adapter.ts";
import { adapterTensors } from "../adapters/in-graph.ts";
import { gateName, loraDelta, loraNames, trainingGate } from "../adapters/lora.ts";
import { add, mul } from "../graph/ops/elementwise.ts";
import { reshape, unsqueeze } from "../graph/ops/movement.ts";
import { flattened } from "../graph/sizes.ts";
import type { Float, Graph } from "../graph/value.ts";
import type { Base } from "../inference/base.ts";
import type { Linear } from "../models/linear.ts";
import type { SessionOptions } from "../runtime/session.ts";
import { type Built, trainingSession } from "./learner.ts";

/** The name of the number of rows in a graph of several experts. */
export const JOINT_ROWS = "experts*rows";

export interface JointLearner {
  /** The shapes of one expert's parameters, by the names of the graph inputs. */
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  readonly prepare: () => Promise<void>;
  /** How sessions of its graphs are loaded. */
  readonly session: SessionOptions;
  /** The base's tensors and seams, with the experts' parts woven in. Parameters have the shape [experts, ...]. */
  build(graph: Graph): Built;
}

/** Trains LoRAs of the form of `adapter`, which has none on embeddings; or, with `gated`, gates for them. The base is frozen. */
export function jointLearner(
  { modules, seams, forTraining, precision, engine }: Base,
  adapter: LoraAdapter,
  { gated = false } = {},
): JointLearner {
  const gates = [...adapter.modules.keys()].map((module) => [gateName(module), [modules.get(module)!.in]] as const);
  const tensors = [...adapterTensors(adapter)].map(([name, { shape }]) => [name, shape] as const);
  return {
    shapes: new Map(gated ? gates : tensors),
    prepare: forTraining,
    session: trainingSession({ precision, engine }),
    build: (graph) => {
      const base = seams(graph);
      return { ...base, linear: withExperts(base.linear, adapter, gated) };
    },
  };
}

function withExperts(inner: Linear, { modules }: LoraAdapter, gated: boolean): Linear {
  return (x, module, projection) => {
    const y = inner(x, module, projection);
    const weights = modules.get(module);
    if (!weights) return y;
    const { rank, scaling, bias } = weights;
    const { in: inputs, out } = projection;
    const input = (name: string, ...shape: readonly number[]) => x.graph.float(name, "experts", ...shape);
    const names = loraNames(module);
    const own = byExpert(x);
    const gate = gated ? trainingGate(own, input(gateName(module), inputs)) : undefined;
    const values = { a: input(names.a, rank, inputs), b: input(names.b, out, rank), scaling };
    const delta = loraDelta(gate ? mul(own, gate) : own, {
      ...values,
      ...(bias && { bias: unsqueeze(input(names.bias, out), 1) }),
    });
    return add(y, reshape(delta, ...y.shape));
  };
}

/** x: [experts*rows, sequence, in] -> [experts, rows*sequence, in] */
function byExpert(x: Float): Float {
  const [, sequence, inputs] = x.shape;
  return reshape(x, "experts", flattened(["rows", sequence!]), inputs!);
}
