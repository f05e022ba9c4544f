/** @file LoRA (Hu et al. 2021, arXiv:2106.09685) in the graph.
 *
 *      delta(x) = scaling B A x,   A: [rank, in], B: [out, rank]
 *
 *  PHATGOOSE's gate (Muqeeth et al. 2024, arXiv:2402.05859) while it trains multiplies the LoRA's input, as the authors' code
 *  does:  delta(sigmoid(vᵀ x) x),   v: [in]. For LoRA that equals scaling its output. */

import type { Graph } from "../graph/graph.ts";
import { add, mul, sigmoid } from "../graph/ops/elementwise.ts";
import { matmul } from "../graph/ops/linalg.ts";
import { reshape } from "../graph/ops/movement.ts";
import type { Float } from "../graph/value.ts";
import type { LoraWeights } from "./adapter.ts";
import type { KindInGraph } from "./in-graph.ts";

/** One module's LoRA as values of a graph. */
export interface LoraValues {
  readonly a: Float;
  readonly b: Float;
  readonly scaling: number;
  readonly bias?: Float;
}

/** x: [batch, sequence, in] -> scaling (B A x + bias): [batch, sequence, out] */
export function loraDelta(x: Float, { a, b, scaling, bias }: LoraValues): Float {
  const delta = matmul(matmul(x, a, { transB: true }), b, { transB: true, alpha: scaling });
  return bias ? add(delta, mul(bias, scaling)) : delta;
}

/** sigmoid(vᵀ x): [batch, sequence, 1], from the raw input, no norm. */
export function trainingGate(x: Float, gate: Float): Float {
  return sigmoid(matmul(x, reshape(gate, gate.shape[0]!, 1)));
}

/** The names under which a module's LoRA enters a graph. */
export const loraNames = (module: string) => ({ a: `${module}.lora_A`, b: `${module}.lora_B`, bias: `${module}.lora_bias` });
/** The name under which a module's gate enters a graph. */
export const gateName = (module: string) => `${module}.gate`;

/** The feeds of one module's LoRA. */
export function loraInputs(
  graph: Graph,
  module: string,
  { rank, in: inputs, out }: { rank: number; in: number; out: number },
): { a: Float; b: Float } {
  const names = loraNames(module);
  return { a: graph.float(names.a, rank, inputs), b: graph.float(names.b, out, rank) };
}

/** LoRA as one of the kinds of adapter. */
export const loraInGraph: KindInGraph<LoraWeights> = {
  tensors: (module, { a, b, bias }) => {
    const names = loraNames(module);
    return { [names.a]: a, [names.b]: b, ...(bias && { [names.bias]: bias }) };
  },
  withTensors: (module, lora, read) => {
    const names = loraNames(module);
    return { ...lora, a: read(names.a), b: read(names.b), ...(lora.bias && { bias: read(names.bias) }) };
  },
  graphKey: ({ rank, scaling, bias }) => `${rank}:${scaling}${bias ? ":bias" : ""}`,
  project: ({ x, base, module, weights: { rank, scaling, bias }, size, gate }) => {
    const { graph } = x;
    const values = { ...loraInputs(graph, module, { rank, ...size }), scaling };
    const delta = loraDelta(gate ? mul(x, gate) : x, bias ? { ...values, bias: graph.float(loraNames(module).bias, size.out) } : values);
    return add(base(x), delta);
  },
};
