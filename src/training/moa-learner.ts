/** @file The learner of Mixture-of-LoRAs (arXiv:2403.03432): the routers, and the domains' LoRAs.
 *
 *      loss = language-model loss + lambda * mean over layers of the domain loss
 *
 *  Each row uses its own domain's LoRA, and all rows of a batch are in one pass. The routers read either
 *    base      the base model's states, from a second pass over the prompt without gradient, as at inference; or
 *    adapted   the states of the training pass, which the row's LoRA has changed from layer 1 on. These states reveal the
 *              label, so the routers learn to distinguish LoRAs instead of texts. At inference the routers work only if the
 *              first pass also uses LoRAs.
 *
 *  The paper does not say which; the default is base. */

import type { LoraAdapter } from "../adapters/adapter.ts";
import { derivedSeed, seededRandom } from "../base/random.ts";
import { float32, type HostTensor } from "../base/tensor.ts";
import { add, mul } from "../graph/ops/elementwise.ts";
import { concat, unsqueeze } from "../graph/ops/movement.ts";
import { softmax } from "../graph/ops/reduce.ts";
import type { Float, Graph } from "../graph/value.ts";
import type { Base, GraphParts } from "../inference/base.ts";
import type { Architecture } from "../models/architecture.ts";
import { weave } from "../models/linear.ts";
import {
  domainDelta,
  domainLoss,
  type LoraStack,
  type MoaRouter,
  type MoaRouters,
  mixtureDelta,
  oneHot,
  type Pooling,
  pooled,
  readPrompt,
  routerNames,
  routerOf,
  routerScores,
  stackedLoras,
  stackInputs,
  unstackedLoras,
} from "../routing/moa.ts";
import type { RouterStates } from "../routing/moa-file.ts";
import { type Built, type Learner, type Parameters, trainingSession } from "./learner.ts";
import { plainRouter, promptIn, type Standard, type Standards, standardized, whitenedIn } from "./router-standards.ts";

export interface MoaLearning {
  readonly lambda: number;
  readonly pooling: Pooling;
  readonly states: RouterStates;
  /** The LoRAs are frozen. */
  readonly freezeLoras: boolean;
  /** False: there is no domain loss, and layers mix all LoRAs by their router's softmax (Skein's reading of the paper's ablation). */
  readonly labels: boolean;
  /** Router rows before this one are frozen. */
  readonly firstRow: number;
}

/** Routers from N(0, 0.02), biases from 0. */
export function freshRouters(layers: readonly string[], numDomains: number, hidden: number, seed: number): MoaRouters {
  return new Map(
    layers.map((layer) => {
      const random = seededRandom(derivedSeed(seed, "router", layer));
      const weight = float32(
        [numDomains, hidden],
        new Float32Array(numDomains * hidden).map(() => 0.02 * random.normal()),
      );
      return [layer, { weight, bias: float32([numDomains]) }];
    }),
  );
}

export interface MoaParts {
  /** One for each domain. */
  readonly adapters: readonly LoraAdapter[];
  readonly routers: MoaRouters;
  /** Coordinates in which the routers' rows learn. Default: those of the states. */
  readonly standards?: Standards;
}

/** Trains routers and, unless frozen, LoRAs. Batches contain the rows' domains. */
export function moaLearner(
  { architecture, modules, seams, forTraining, precision, engine }: Base,
  { adapters, routers, standards }: MoaParts,
  options: MoaLearning,
): Learner {
  const stack = stackedLoras(adapters, modules);
  const rows = splitRouters(routers, options.firstRow, standards);
  return {
    kind: "moa",
    initial: new Map([...(options.freezeLoras ? [] : stack.tensors), ...rows.learning]),
    frozen: Object.fromEntries([...(options.freezeLoras ? stack.tensors : []), ...rows.frozen]),
    prepare: forTraining,
    session: trainingSession({ precision, engine }),
    build: (graph) => {
      const reader = new RouterReader(graph, architecture, { adapters, routers, ...(standards && { standards }) }, options);
      return options.labels ? labeled(graph, seams(graph), architecture, stack, reader, options) : unlabeled(seams(graph), stack, reader);
    },
  };
}

function labeled(
  graph: Graph,
  base: GraphParts,
  architecture: Architecture,
  stack: LoraStack,
  reader: RouterReader,
  { lambda, states, freezeLoras }: MoaLearning,
): Built {
  const domains = graph.int("domains", "batch");
  const linear = weave(base.linear, (x, module) => {
    const shape = stack.shapes.get(module);
    return shape && domainDelta(x, oneHot(domains, shape.scalings.length), stackInputs(graph, module, shape), shape);
  });
  if (states === "base") readPrompt(graph, architecture, { ...base, enterLayer: reader.enterLayer });
  const extraLoss = () => {
    const losses = reader.scores.map((scores) => domainLoss(scores, domains));
    return mul(losses.reduce(add), lambda / losses.length);
  };
  const observing = states === "adapted" ? { enterLayer: reader.enterLayer } : {};
  return { ...base, linear, ...observing, extraLoss, ...(freezeLoras && { textTeaches: false }) };
}

/** Every layer mixes all LoRAs by its router's softmax over its own running state. */
function unlabeled(base: GraphParts, stack: LoraStack, reader: RouterReader): Built {
  const linear = weave(base.linear, (x, module) => {
    const shape = stack.shapes.get(module);
    if (!shape) return undefined;
    const mixing = unsqueeze(softmax(reader.scoresFor(module)), 1);
    return mixtureDelta(x, mixing, stackInputs(x.graph, module, shape), shape);
  });
  return { ...base, linear, enterLayer: reader.enterLayer };
}

/** Collects the routers' scores from the layers' inputs. */
class RouterReader {
  readonly scores: Float[] = [];
  readonly #graph: Graph;
  readonly #layers: readonly string[];
  readonly #parts: MoaParts;
  readonly #options: MoaLearning;
  readonly #prompt: Float;

  constructor(graph: Graph, architecture: Architecture, parts: MoaParts, options: MoaLearning) {
    this.#graph = graph;
    this.#layers = [...parts.routers.keys()];
    this.#parts = parts;
    this.#options = options;
    this.#prompt = promptIn(graph, architecture);
  }
  readonly enterLayer = (layer: string, x: Float): void => {
    const router = this.#parts.routers.get(layer);
    if (!router) return;
    const state = pooled(x, this.#prompt, this.#options.pooling);
    this.scores.push(learningScores(this.#graph, layer, state, router, this.#parts.standards?.get(layer), this.#options.firstRow));
  };
  /** The scores for a module's mixture. */
  scoresFor(module: string): Float {
    return this.scores[Math.min(routerOf(module, this.#layers), this.scores.length - 1)]!;
  }
}

const learningNames = (layer: string) => ({ weight: `${routerNames(layer).weight}.rows`, bias: `${routerNames(layer).bias}.rows` });

/** Scores of a router. Rows before `firstRow` are frozen feeds; the others learn. state: [batch, hidden] -> [batch, domains] */
function learningScores(
  graph: Graph,
  layer: string,
  state: Float,
  { weight }: MoaRouter,
  standard: Standard | undefined,
  firstRow: number,
): Float {
  const [numDomains, hidden] = weight.shape as [number, number];
  const [frozen, learning] = [routerNames(layer), learningNames(layer)];
  const read = standard ? whitenedIn(state, standard) : state;
  const rows = numDomains - firstRow;
  const scores = routerScores(read, graph.float(learning.weight, rows, hidden), graph.float(learning.bias, rows));
  if (firstRow === 0) return scores;
  return concat([routerScores(state, graph.float(frozen.weight, firstRow, hidden), graph.float(frozen.bias, firstRow)), scores], 1);
}

function splitRouters(routers: MoaRouters, firstRow: number, standards: Standards | undefined) {
  const [learning, frozen] = [new Map<string, HostTensor<"float32">>(), new Map<string, HostTensor<"float32">>()];
  for (const [layer, router] of routers) {
    const [own, kept] = [learningNames(layer), routerNames(layer)];
    const standard = standards?.get(layer);
    const rows = rowsFrom(router, firstRow);
    const { weight, bias } = standard ? standardized(rows, standard) : rows;
    learning.set(own.weight, weight).set(own.bias, bias);
    if (firstRow === 0) continue;
    const hidden = weight.shape[1]!;
    frozen.set(kept.weight, float32([firstRow, hidden], router.weight.data.slice(0, firstRow * hidden)));
    frozen.set(kept.bias, float32([firstRow], router.bias.data.slice(0, firstRow)));
  }
  return { learning, frozen };
}

function rowsFrom({ weight, bias }: MoaRouter, first: number): MoaRouter {
  const [numDomains, hidden] = weight.shape as [number, number];
  return {
    weight: float32([numDomains - first, hidden], weight.data.slice(first * hidden)),
    bias: float32([numDomains - first], bias.data.slice(first)),
  };
}

/** The parts with their trained numbers. */
export function trainedParts({ adapters, routers, standards }: MoaParts, parameters: Parameters): MoaParts {
  const joined = [...routers].map(([layer, router]): [string, MoaRouter] => {
    const names = learningNames(layer);
    const learned = { weight: parameters.get(names.weight)!, bias: parameters.get(names.bias)! };
    const standard = standards?.get(layer);
    const rows = standard ? plainRouter(learned, standard) : learned;
    return [layer, { weight: withTail(router.weight, rows.weight), bias: withTail(router.bias, rows.bias) }];
  });
  return { adapters: unstackedLoras(adapters, parameters), routers: new Map(joined) };
}

/** `whole` with its last numbers replaced by others. */
function withTail(whole: HostTensor<"float32">, tail: HostTensor<"float32">): HostTensor<"float32"> {
  const data = whole.data.slice();
  data.set(tail.data, data.length - tail.data.length);
  return float32(whole.shape, data);
}
