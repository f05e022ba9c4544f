/** @file LoRA (Hu et al. 2021, arXiv:2106.09685) in the graph.
 *
 *      delta(x) = scaling B A x,   A: [rank, in], B: [out, rank]
 *
 *  On a table of embeddings x is a one-hot vector, so a token reads one column of A: delta(id) = scaling B A[:, id].
 *
 *  While PHATGOOSE's gate trains (Muqeeth et al. 2024, arXiv:2402.05859), it multiplies the LoRA's input, as in the authors' code:
 *  delta(sigmoid(vᵀ x) x),   v: [in]. For LoRA this equals scaling the output. */

import { float32, type HostTensor } from "../base/tensor.ts";
import { add, mul, sigmoid } from "../graph/ops/elementwise.ts";
import { matmul } from "../graph/ops/linalg.ts";
import { gather, shaped, unsqueeze } from "../graph/ops/movement.ts";
import type { Float, Graph, Int } from "../graph/value.ts";
import type { LoraWeights } from "./adapter.ts";
import type { KindInGraph } from "./kind-in-graph.ts";

/** One module's LoRA as values of a graph. */
export interface LoraValues {
  readonly a: Float;
  readonly b: Float;
  readonly scaling: number;
  readonly bias?: Float;
}

/** x: [batch, sequence, in] -> scaling (B A x + bias): [batch, sequence, out]. With A, B and bias of several experts, [experts, ...], each
 *  has its own x: [experts, rows, in] -> [experts, rows, out]. */
export function loraDelta(x: Float, { a, b, scaling, bias }: LoraValues): Float {
  const delta = shaped(
    matmul(matmul(x, a, { transB: true }), b, { transB: true, alpha: scaling }),
    ...x.shape.slice(0, -1),
    b.shape.at(-2)!,
  );
  return bias ? add(delta, mul(bias, scaling)) : delta;
}

/** sigmoid(vᵀ x): [batch, sequence, 1], from the raw input, no norm. gate: [in]; or [experts, in], for x: [experts, rows, in]. */
export function trainingGate(x: Float, gate: Float): Float {
  return sigmoid(matmul(x, unsqueeze(gate, -1)));
}

/** ids: int64 [batch, sequence], aT: [in, rank], the transpose of A -> scaling B A[:, id]: [batch, sequence, out] */
export function embeddingDelta(ids: Int, { aT, b, scaling }: { aT: Float; b: Float; scaling: number }): Float {
  return matmul(gather(aT, ids), b, { transB: true, alpha: scaling });
}

/** The names of a module's LoRA tensors in a graph. */
export const loraNames = (module: string) => ({ a: `${module}.lora_A`, b: `${module}.lora_B`, bias: `${module}.lora_bias` });
/** The same for a table of embeddings, whose A is fed transposed. */
export const embeddingLoraNames = (module: string) => ({ aT: `${module}.lora_embedding_A.T`, b: `${module}.lora_embedding_B` });
/** The name of a module's gate in a graph. */
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

/** The implementation of LoRA in a graph. */
export const loraInGraph: KindInGraph<LoraWeights> = {
  tensors: (module, { a, b, bias, embedding }) => {
    if (embedding) {
      const { aT, b: bName } = embeddingLoraNames(module);
      return { [aT]: transposed(a), [bName]: b };
    }
    const names = loraNames(module);
    return { [names.a]: a, [names.b]: b, ...(bias && { [names.bias]: bias }) };
  },
  withTensors: (module, lora, read) => {
    if (lora.embedding) {
      const { aT, b } = embeddingLoraNames(module);
      return { ...lora, a: transposed(read(aT)), b: read(b) };
    }
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
  lookUp: ({ ids, base, module, weights: { rank, scaling }, size }) => {
    const { graph } = ids;
    const names = embeddingLoraNames(module);
    return add(base, embeddingDelta(ids, { aT: graph.float(names.aT, size.in, rank), b: graph.float(names.b, size.out, rank), scaling }));
  },
};

/** [rows, columns] -> [columns, rows] */
function transposed({ shape, data }: HostTensor<"float32">): HostTensor<"float32"> {
  const [rows = 0, columns = 0] = shape;
  const result = float32([columns, rows]);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) result.data[j * rows + i] = data[i * columns + j]!;
  return result;
}
