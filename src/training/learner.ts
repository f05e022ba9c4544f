/** @file What learns: LoRA, gates, or every weight. A learner builds its part of the training graph and owns the
 *  parameters' initial values; the loop that trains them is the same for all three. */

import type { LoraAdapter, LoraWeights } from "../adapters/adapter.ts";
import { gateName, loraDelta, loraInputs, loraNames, trainingGate } from "../adapters/lora.ts";
import type { ModuleSizes } from "../adapters/modules.ts";
import { derivedSeed, seededRandom } from "../base/random.ts";
import { float32, type HostTensor } from "../base/tensor.ts";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import type { Graph } from "../graph/graph.ts";
import { mul } from "../graph/ops/elementwise.ts";
import type { Float } from "../graph/value.ts";
import { baseLinear, type Linear, type Weights, weave } from "../models/linear.ts";
import { fileWeights, inputWeights } from "../models/weights.ts";
import type { Feeds } from "../runtime/session.ts";

export type Parameters = ReadonlyMap<string, HostTensor<"float32">>;

export interface Learner {
  readonly kind: "lora" | "gate" | "full";
  /** Starting values, keyed by the names of the graph inputs they feed. */
  readonly initial: Parameters;
  /** What else the graph needs and does not learn. */
  readonly frozen: Feeds;
  /** The base's weights and its projections with what learns woven in. */
  build(graph: Graph): { weights: Weights; linear: Linear };
}

export interface LoraOptions {
  /** Modules that get a LoRA. */
  readonly targets: readonly string[];
  readonly rank: number;
  /** alpha / rank; the PHATGOOSE authors use 1 / rank. */
  readonly scaling: number;
  readonly seed: number;
}

// The authors' initialisation of A (src/models/custom_modules/lora/lora_linear.py:16-21); B starts at 0.
const INITIAL_A = 0.01;

/** A fresh LoRA on every target: A ~ 0.01 N(0, 1), B = 0. */
export function freshLora(sizes: ModuleSizes, { targets, rank, scaling, seed }: LoraOptions): LoraAdapter {
  const modules = new Map<string, LoraWeights>();
  for (const module of targets) {
    const { in: inputs, out } = sizes.get(module)!;
    const random = seededRandom(derivedSeed(seed, module));
    const a = float32(
      [rank, inputs],
      new Float32Array(rank * inputs).map(() => INITIAL_A * random.normal()),
    );
    modules.set(module, { rank, scaling, a, b: float32([out, rank]) });
  }
  return { kind: "lora", modules, warnings: [] };
}

/** Trains the A's and B's of `adapter`; the base is frozen. */
export function loraLearner(checkpoint: Checkpoint, sizes: ModuleSizes, adapter: LoraAdapter): Learner {
  return {
    kind: "lora",
    initial: loraTensors(adapter),
    frozen: {},
    build: (graph) => {
      const weights = fileWeights(graph, checkpoint);
      return { weights, linear: weave(baseLinear(weights), (x, module) => adapterDelta(x, module, adapter, sizes)) };
    },
  };
}

/** Trains one gate per module of `adapter`, from 0 (so that the LoRA first counts half); base and LoRA are frozen. */
export function gateLearner(checkpoint: Checkpoint, sizes: ModuleSizes, adapter: LoraAdapter): Learner {
  const gates = [...adapter.modules.keys()].map((module): [string, HostTensor<"float32">] => [
    gateName(module),
    float32([sizes.get(module)!.in]),
  ]);
  return {
    kind: "gate",
    initial: new Map(gates),
    frozen: Object.fromEntries(loraTensors(adapter)),
    build: (graph) => {
      const weights = fileWeights(graph, checkpoint);
      return {
        weights,
        linear: weave(baseLinear(weights), (x, module) => {
          if (!adapter.modules.has(module)) return undefined;
          const gate = graph.float(gateName(module), sizes.get(module)!.in);
          return adapterDelta(mul(x, trainingGate(x, gate)), module, adapter, sizes);
        }),
      };
    },
  };
}

/** Trains every weight of the base: pre-training and the multitask baseline. */
export function fullLearner(initial: Parameters): Learner {
  return {
    kind: "full",
    initial,
    frozen: {},
    build: (graph) => {
      const weights = inputWeights(graph, () => {});
      return { weights, linear: baseLinear(weights) };
    },
  };
}

function adapterDelta(x: Float, module: string, adapter: LoraAdapter, sizes: ModuleSizes) {
  const lora = adapter.modules.get(module);
  if (!lora) return undefined;
  return loraDelta(x, { ...loraInputs(x.graph, module, { rank: lora.rank, ...sizes.get(module)! }), scaling: lora.scaling });
}

/** The adapter's tensors under the names its graph inputs have. */
function loraTensors(adapter: LoraAdapter): Map<string, HostTensor<"float32">> {
  return new Map(
    [...adapter.modules].flatMap(([module, { a, b }]) => [
      [loraNames(module).a, a],
      [loraNames(module).b, b],
    ]),
  );
}

/** The adapter with trained numbers in place of its own. */
export function withParameters(adapter: LoraAdapter, parameters: Parameters): LoraAdapter {
  const modules = [...adapter.modules].map(([module, lora]): [string, LoraWeights] => {
    const names = loraNames(module);
    return [module, { ...lora, a: parameters.get(names.a) ?? lora.a, b: parameters.get(names.b) ?? lora.b }];
  });
  return { ...adapter, modules: new Map(modules) };
}
