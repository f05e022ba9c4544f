/** @file Mixture-of-LoRAs (MoA; Feng et al. 2024, arXiv:2403.03432): one LoRA per domain, and a router before each layer
 *  that classifies the domain of the whole sequence.
 *
 *  In the paper, one LoRA per domain is trained first. Then a router is added before each transformer layer, and routers and LoRAs
 *  learn from mixed batches; a row's domain label selects its LoRA. If the domain is unknown, the majority of the routers, or the
 *  last router, chooses one LoRA for the sequence. The paper gives no equations for the rest.
 *
 *  Skein's choice, with H_l [sequence, hidden] the input of layer l and p the prompt's tokens:
 *
 *      h_l = mean over p of H_l          or H_l of the last token of p
 *      z_l = R_l h_l + b_l               scores of the domains, R_l: [domains, hidden]
 *      domain loss = mean over layers of -log softmax(z_l)[domain]
 *      y = W x + scaling_d B_d A_d x     d = the row's domain: all rows of a batch in one product
 *
 *  Encoder-decoder models have routers only before the encoder's layers, since the domain is chosen before the decoder runs. The
 *  decoder follows the last router.
 *
 *  Without labels (the paper's ablation) a layer mixes all LoRAs' outputs by softmax(z_l), and learns only from the text. */

import type { LoraAdapter, LoraWeights } from "../adapters/adapter.ts";
import { type ModuleSizes, needInputs } from "../adapters/modules.ts";
import { AdapterError } from "../base/errors.ts";
import { float32, type HostTensor, int64 } from "../base/tensor.ts";
import { createGraph } from "../graph/graph.ts";
import { add, and, cast, div, equal, mul, neg, toFloat, where } from "../graph/ops/elementwise.ts";
import { matmul } from "../graph/ops/linalg.ts";
import { gatherElements, reshape, transpose, unsqueeze } from "../graph/ops/movement.ts";
import { cumulativeSum, logSoftmax, reduceMean, reduceSum } from "../graph/ops/reduce.ts";
import type { Float, Graph, Int } from "../graph/value.ts";
import type { Architecture, Parts } from "../models/architecture.ts";
import { fullAttention, noDropout, type Places } from "../models/attention.ts";
import { outline, positionsOf, slots } from "../models/logits.ts";

/** What a router reads of a prompt: the mean over its tokens, or its last token. */
export type Pooling = "mean" | "last";

/** The routers by the path of their layer, in the layers' order. */
export type MoaRouters = ReadonlyMap<string, MoaRouter>;
/** The router before one layer: weight [domains, hidden] and bias [domains]. */
export interface MoaRouter {
  /** [domains, hidden] */
  readonly weight: HostTensor<"float32">;
  /** [domains] */
  readonly bias: HostTensor<"float32">;
}

export const routerNames = (layer: string) => ({ weight: `${layer}.router.weight`, bias: `${layer}.router.bias` });

/** Builds the part that reads the prompt and calls `enterLayer` with the layers' inputs. Feeds `input_ids`, `attention_mask`.
 *  -> the states after the last layer, [batch, sequence, hidden] */
export function readPrompt(
  graph: Graph,
  architecture: Architecture,
  parts: Pick<Parts, "weights" | "linear" | "embedding" | "enterLayer">,
): Float {
  const ids = graph.int("input_ids", "batch", "sequence");
  const mask = graph.int("attention_mask", "batch", "sequence");
  const positions = architecture.kind === "encoder-decoder" ? slots(graph, "sequence").positions : positionsOf(mask);
  const places: Places = { positions, valid: mask };
  const all: Parts = { ...parts, dropout: noDropout, attention: fullAttention(places), slots: () => slots(graph, "sequence").positions };
  return architecture.kind === "encoder-decoder" ? architecture.encode(ids, all) : architecture.decode(ids, positions, all);
}

/** The paths of the layers that have routers, in order. */
export function routerLayers(architecture: Architecture): string[] {
  const graph = createGraph("layers");
  const layers: string[] = [];
  readPrompt(graph, architecture, { ...outline(graph), enterLayer: (layer) => layers.push(layer) });
  return layers;
}

/** The index of the router that `module` follows: its own layer's, or the last one for modules outside the routed layers. */
export function routerOf(module: string, layers: readonly string[]): number {
  const own = layers.findIndex((layer) => module.startsWith(`${layer}.`));
  return own < 0 ? layers.length - 1 : own;
}

/** The prompt's state. x: [batch, sequence, hidden], prompt: [batch, sequence] of 0 and 1 -> [batch, hidden] */
export function pooled(x: Float, prompt: Float, pooling: Pooling): Float {
  const count = reduceSum(prompt);
  const chosen = pooling === "mean" ? div(prompt, count) : mul(prompt, toFloat(equal(cumulativeSum(prompt, 1), count)));
  return reshape(matmul(unsqueeze(chosen, 1), x), x.shape[0]!, x.shape[2]!);
}

/** The tokens before the first learned one, including the token it is predicted from. mask: int64 [batch, sequence], learned: 1 where a label counts */
export function promptOf(mask: Int, learned: Float): Float {
  const before = equal(cumulativeSum(learned, 1), learned); // nothing learned before this position
  return where(and(before, cast(mask, "bool")), 1, 0);
}

/** h: [batch, hidden] -> scores of the domains [batch, domains] */
export function routerScores(h: Float, weight: Float, bias: Float): Float {
  return add(matmul(h, weight, { transB: true }), bias);
}

/** Mean over rows of -log softmax(scores)[domain], a scalar. scores: [batch, domains], domains: int64 [batch] */
export function domainLoss(scores: Float, domains: Int): Float {
  return neg(reduceMean(gatherElements(logSoftmax(scores), unsqueeze(domains, 1)), { axes: [0, 1], keep: false }));
}

/** int64 [batch] -> [batch, domains] of 0 and 1 */
export function oneHot(domains: Int, numDomains: number): Float {
  return toFloat(equal(unsqueeze(domains, 1), domains.graph.constant(int64([1, numDomains], [...Array(numDomains).keys()]))));
}

/** The domains' LoRAs of one module, stacked. */
export interface StackShape {
  readonly in: number;
  readonly out: number;
  /** The largest of the domains'; smaller ones have zero rows. */
  readonly rank: number;
  /** alpha / rank of each domain; 0 where a domain does not adapt the module. */
  readonly scalings: readonly number[];
}
export interface StackValues {
  /** [domains, rank, in] */
  readonly a: Float;
  /** [domains, out, rank] */
  readonly b: Float;
}
export const stackedNames = (module: string) => ({ a: `moa.${module}.a`, b: `moa.${module}.b` });

/** The feeds of one module's stack. */
export function stackInputs(graph: Graph, module: string, { rank, in: inputs, out, scalings }: StackShape): StackValues {
  const names = stackedNames(module);
  return { a: graph.float(names.a, scalings.length, rank, inputs), b: graph.float(names.b, scalings.length, out, rank) };
}

const scalingsOf = (graph: Graph, { scalings }: StackShape) => graph.constant(float32([scalings.length, 1], scalings));

/** scaling_d B_d A_d x with d each row's own domain. x: [batch, sequence, in], choice: one-hot [batch, domains] -> [batch, sequence, out].
 *  A product with the one-hot rows selects a row's matrices, so gradients go to the selected matrices. */
export function domainDelta(x: Float, choice: Float, { a, b }: StackValues, shape: StackShape): Float {
  const { rank, in: inputs, out, scalings } = shape;
  const [batch] = x.shape;
  const pick = (stack: Float, ...size: readonly number[]) =>
    reshape(matmul(choice, reshape(stack, scalings.length, size[0]! * size[1]!)), batch!, ...size);
  const scaling = unsqueeze(matmul(choice, scalingsOf(x.graph, shape)), 1);
  const inner = matmul(x, pick(a, rank, inputs), { transB: true });
  return matmul(mul(inner, scaling), pick(b, out, rank), { transB: true });
}

/** sum_d w_d scaling_d B_d A_d x over all domains, as one LoRA of rank domains * rank.
 *  weights: [batch, sequence or 1, domains] -> [batch, sequence, out] */
export function mixtureDelta(x: Float, weights: Float, { a, b }: StackValues, shape: StackShape): Float {
  const { rank, in: inputs, out, scalings } = shape;
  const [batch, sequence] = x.shape;
  const numDomains = scalings.length;
  const inner = reshape(matmul(x, reshape(a, numDomains * rank, inputs), { transB: true }), batch!, sequence!, numDomains, rank);
  const scaled = mul(weights, reshape(scalingsOf(x.graph, shape), numDomains));
  const weighted = reshape(mul(inner, unsqueeze(scaled, -1)), batch!, sequence!, numDomains * rank);
  return matmul(weighted, reshape(transpose(b, [0, 2, 1]), numDomains * rank, out));
}

/** The domains' LoRAs as feeds of a graph. */
export interface LoraStack {
  readonly shapes: ReadonlyMap<string, StackShape>;
  /** Keyed by `stackedNames`. */
  readonly tensors: ReadonlyMap<string, HostTensor<"float32">>;
}

/** Stacks the domains' LoRAs of every module that at least one domain adapts. */
export function stackedLoras(adapters: readonly LoraAdapter[], sizes: ModuleSizes): LoraStack {
  adapters.forEach((adapter, d) => {
    needInputs(adapter, `The LoRA of domain ${d + 1}`);
  });
  const shapes = new Map<string, StackShape>();
  const tensors = new Map<string, HostTensor<"float32">>();
  for (const [module, { in: inputs, out }] of sizes) {
    const own = adapters.map((adapter) => adapter.modules.get(module));
    if (own.every((lora) => lora === undefined)) continue;
    if (own.some((lora) => lora?.bias)) {
      throw new AdapterError({
        code: "adapter-has-bias",
        data: { module },
        what: "A LoRA with a bias cannot be a domain's.",
        where: module,
        fix: "Train it without lora_bias.",
      });
    }
    const rank = Math.max(...own.map((lora) => lora?.rank ?? 0));
    const names = stackedNames(module);
    const [a, b] = [float32([adapters.length, rank, inputs]), float32([adapters.length, out, rank])];
    own.forEach((lora, d) => {
      if (!lora) return;
      a.data.set(lora.a.data, d * rank * inputs);
      for (let o = 0; o < out; o++) b.data.set(lora.b.data.subarray(o * lora.rank, (o + 1) * lora.rank), (d * out + o) * rank);
    });
    shapes.set(module, { in: inputs, out, rank, scalings: own.map((lora) => lora?.scaling ?? 0) });
    tensors.set(names.a, a).set(names.b, b);
  }
  return { shapes, tensors };
}

/** The adapters with the stack's numbers. */
export function unstackedLoras(adapters: readonly LoraAdapter[], tensors: LoraStack["tensors"]): LoraAdapter[] {
  return adapters.map((adapter, d) => {
    const modules = [...adapter.modules].map(([module, lora]): [string, LoraWeights] => {
      const names = stackedNames(module);
      const [a, b] = [tensors.get(names.a), tensors.get(names.b)];
      return [module, a && b ? cutOut(lora, a, b, d) : lora];
    });
    return { ...adapter, modules: new Map(modules) };
  });
}

function cutOut(lora: LoraWeights, a: HostTensor<"float32">, b: HostTensor<"float32">, d: number): LoraWeights {
  const [, rank, inputs] = a.shape as [number, number, number];
  const out = b.shape[1]!;
  const own = float32([out, lora.rank]);
  for (let o = 0; o < out; o++) {
    const start = (d * out + o) * rank;
    own.data.set(b.data.subarray(start, start + lora.rank), o * lora.rank);
  }
  const start = d * rank * inputs;
  return { ...lora, a: float32([lora.rank, inputs], a.data.slice(start, start + lora.rank * inputs)), b: own };
}
