/** @file Learners: an adapter, gates, or the whole base. A learner builds its part of the training graph and holds the
 *  parameters' initial values. The training loop is the same for all of them. */

import type { Adapter, LoraAdapter, LoraWeights } from "../adapters/adapter.ts";
import { adapted, adapterTensors } from "../adapters/in-graph.ts";
import { gateName } from "../adapters/lora.ts";
import { type ModuleSizes, needInputs } from "../adapters/modules.ts";
import { derivedSeed, seededRandom } from "../base/random.ts";
import { float32, type HostTensor } from "../base/tensor.ts";
import type { Float, Graph } from "../graph/value.ts";
import type { Base } from "../inference/base.ts";
import type { Parts } from "../models/architecture.ts";
import { baseSeams } from "../models/embedding.ts";
import { inputWeights } from "../models/weights.ts";
import { hasOwnNumbers } from "../quantization/scheme.ts";
import type { Feeds, SessionOptions } from "../runtime/session.ts";

export type Parameters = ReadonlyMap<string, HostTensor<"float32">>;

/** A learner's part of a graph. */
export interface Built extends Pick<Parts, "weights" | "linear" | "embedding" | "enterLayer"> {
  /** A scalar that is added to the language-model loss; called after the logits are built. */
  readonly extraLoss?: () => Float;
  /** False where no parameter depends on the logits, so that they need not be computed. */
  readonly textTeaches?: false;
}

export interface Learner {
  readonly kind: Adapter["kind"] | "gate" | "full" | "moa" | "moe-lora";
  /** Starting values, keyed by the names of the graph inputs they feed. */
  readonly initial: Parameters;
  /** Other feeds of the graph, which are not learned. */
  readonly frozen: Feeds;
  /** Called once before `build`: prepares what gradients through the base need. */
  readonly prepare?: () => Promise<void>;
  /** How sessions of its graphs are loaded. */
  readonly session?: SessionOptions;
  /** The base's tensors and seams, with the learner's part woven in. */
  build(graph: Graph): Built;
}

export interface LoraOptions {
  /** Modules that get a LoRA. */
  readonly targets: readonly string[];
  readonly rank: number;
  /** alpha / rank; the PHATGOOSE authors use 1 / rank. */
  readonly scaling: number;
  readonly seed: number;
}

// The authors' initialization of A (src/models/custom_modules/lora/lora_linear.py:16-21); B starts at 0.
const INITIAL_A = 0.01;

/** How a base's training graphs are loaded. Packed copies of float weights would double the memory without a gain at the batch sizes of
 *  training. 8-bit weights without a packed copy are packed again at every run, and a step takes 1.6 times as long. */
export function trainingSession({ precision, engine }: Pick<Base, "precision" | "engine">): SessionOptions {
  return { engine, prepack: !hasOwnNumbers(precision), half: precision === "float16" };
}

/** A new LoRA on every target: A ~ 0.01 N(0, 1), B = 0. On embeddings A = 0 and B ~ N(0, 1), as in PEFT: a token reads only one
 *  column of A, and a small column would grow slowly. */
export function freshLora(sizes: ModuleSizes, { targets, rank, scaling, seed }: LoraOptions): LoraAdapter {
  const modules = new Map<string, LoraWeights>();
  for (const module of targets) {
    const { in: inputs, out, embedding } = sizes.get(module)!;
    const random = seededRandom(derivedSeed(seed, module));
    const normal = (factor: number, ...shape: readonly [number, number]) =>
      float32(
        shape,
        new Float32Array(shape[0] * shape[1]).map(() => factor * random.normal()),
      );
    modules.set(
      module,
      embedding
        ? { rank, scaling, a: float32([rank, inputs]), b: normal(1, out, rank), embedding }
        : { rank, scaling, a: normal(INITIAL_A, rank, inputs), b: float32([out, rank]) },
    );
  }
  return { kind: "lora", modules, warnings: [] };
}

/** Trains `adapter`, of any kind; the base is frozen. */
export function adapterLearner({ modules, seams, forTraining, precision, engine }: Base, adapter: Adapter): Learner {
  return {
    kind: adapter.kind,
    initial: adapterTensors(adapter),
    frozen: {},
    prepare: forTraining,
    session: trainingSession({ precision, engine }),
    build: (graph) => {
      const base = seams(graph);
      return { ...base, ...adapted(base, adapter, modules) };
    },
  };
}

/** Trains one gate per module of `adapter`. Gates start at 0, where the adapter has half its effect. Base and adapter are frozen. */
export function gateLearner({ modules, seams, forTraining, precision, engine }: Base, adapter: Adapter): Learner {
  needInputs(adapter, "The expert");
  const gates = [...adapter.modules.keys()].map((module): [string, HostTensor<"float32">] => [
    gateName(module),
    float32([modules.get(module)!.in]),
  ]);
  return {
    kind: "gate",
    initial: new Map(gates),
    frozen: Object.fromEntries(adapterTensors(adapter)),
    prepare: forTraining,
    session: trainingSession({ precision, engine }),
    build: (graph) => {
      const base = seams(graph);
      return { ...base, ...adapted(base, adapter, modules, { gated: true }) };
    },
  };
}

/** Trains every tensor of the base: pre-training and the multitask baseline. */
export function fullLearner({ precision, engine }: Pick<Base, "precision" | "engine">, initial: Parameters): Learner {
  return {
    kind: "full",
    initial,
    frozen: {},
    session: trainingSession({ precision, engine }),
    build: (graph) => {
      const weights = inputWeights(graph, () => {});
      return { weights, ...baseSeams(weights) };
    },
  };
}
