/** @file Lowers a graph to the operators that an engine has. Each use that the engine lacks is replaced by its decomposition; all other
 *  nodes are copied. The table of decompositions is total over the uses an engine may lack. Results change by rounding only. */

import { reachable } from "../onnx/serialize.ts";
import type { OpAttributes, OpType } from "../operators.ts";
import { add, and, exp, less, log, mul, not, sigmoid, sub, tanh, where } from "../ops/elementwise.ts";
import { matmul } from "../ops/linalg.ts";
import { concat, expand, gather, reshape, scatterAddElements, slice, transpose, unsqueeze } from "../ops/movement.ts";
import { reduceMax, reduceSum } from "../ops/reduce.ts";
import { flattened } from "../sizes.ts";
import type { Bool, Float, Graph, Int, Node, Value } from "../value.ts";
import type { Capabilities, Use } from "./capabilities.ts";
import { copied } from "./copied.ts";
import { withHalfFeeds } from "./half-feeds.ts";
import { int8Product, int8ProductInFloats } from "./int8.ts";
import { type Mixture, mixtureOf } from "./mixture.ts";
import { rmsNormOf } from "./norms.ts";
import { cosineOf, sineOf } from "./trigonometry.ts";

/** The node's outputs, from its operands in the new graph. */
type Decomposition<Op extends OpType> = (
  operands: readonly Value[],
  attributes: OpAttributes[Op],
  options: Pick<Capabilities, "integerProducts" | "mixture">,
) => readonly Value[];

export interface LoweringOptions {
  /** How a mixture of experts is computed (mixture.ts), instead of the engine's own way. */
  readonly mixture?: Mixture | undefined;
}

type Lacking = Pick<Capabilities, "lacks"> & Partial<Pick<Capabilities, "integerProducts" | "mixture" | "float16">>;

/** The lowered graph, or `graph` itself if the engine lacks none of its operators. Feeds in 16 bits get the form that it takes. */
export function lowered(graph: Graph, engine: Lacking, given: LoweringOptions = {}): Graph {
  const { lacks, integerProducts = true, float16 = true } = engine;
  const { mixture = engine.mixture ?? "sorted" } = given;
  const { nodes, used } = reachable(graph);
  const missing = new Map(
    nodes.flatMap((node) =>
      usesOf(node, used)
        .filter((use) => use in lacks)
        .map((use) => [node, use] as const),
    ),
  );
  if (missing.size === 0) return withHalfFeeds(graph, float16);
  const options = { mixture, integerProducts };
  const copy = copied(graph, {
    replaced: (node, operands) => {
      const use = missing.get(node);
      return use && decomposition(use)(operands as Value[], node.attributes, options);
    },
  });
  return lowered(copy, engine, given); // a decomposition may use what the engine lacks too
}

/** The uses that the reachable nodes of a graph make of operators an engine may lack. */
export function usesIn(graph: Graph): ReadonlySet<Use> {
  const { nodes, used } = reachable(graph);
  return new Set(nodes.flatMap((node) => usesOf(node, used)));
}

function usesOf(node: Node, used: ReadonlySet<Value>): readonly Use[] {
  const { op } = node;
  if (op === "MatMul") {
    const { transA, transB, alpha } = node.attributes as OpAttributes["MatMul"];
    return transA || transB || alpha !== 1 ? ["FusedMatMul"] : [];
  }
  if (op === "SimplifiedLayerNormalization") return used.has(node.outputs[1]!) ? [op, "SimplifiedLayerNormalization, second result"] : [op];
  return op in DECOMPOSITIONS ? [op as Use] : [];
}

const rmsNorm: Decomposition<"SimplifiedLayerNormalization"> = ([x, scale], attributes) =>
  rmsNormOf(x as Float, scale as Float, attributes);

const DECOMPOSITIONS = {
  Mixture: (operands, attributes, { mixture }) => [mixtureOf(mixture, operands, attributes)],
  FusedMatMul: ([a, b], { transA, transB, alpha }) => {
    const turned = (x: Value, by: boolean) => (by ? transpose(x as Float) : (x as Float));
    return [matmul(turned(alpha === 1 ? a! : mul(a as Float, alpha), transA), turned(b!, transB))];
  },
  RotaryEmbedding: ([x, rows, cosines, sines]) => {
    const half = (x!.shape.at(-1) as number) / 2;
    const ofTokens = (table: Value) => unsqueeze(gather(table as Float, rows as Int), 1);
    const [cos, sin] = [ofTokens(cosines!), ofTokens(sines!)];
    const [left, right] = [slice(x as Float, -1, 0, half), slice(x as Float, -1, half, 2 * half)];
    return [concat([sub(mul(left, cos), mul(right, sin)), add(mul(right, cos), mul(left, sin))], -1)];
  },
  SimplifiedLayerNormalization: rmsNorm,
  "SimplifiedLayerNormalization, second result": rmsNorm,
  QuickGelu: ([x], { alpha }) => [mul(x as Float, sigmoid(alpha === 1 ? (x as Float) : mul(x as Float, alpha)))],
  FastGelu: ([operand]) => {
    const x = operand as Float;
    const inner = mul(add(x, mul(mul(mul(x, x), x), 0.044715)), Math.sqrt(2 / Math.PI));
    return [mul(mul(x, 0.5), add(tanh(inner), 1))];
  },
  Sin: ([x]) => [sineOf(x as Float)],
  Cos: ([x]) => [cosineOf(x as Float)],
  Sign: ([operand]) => {
    const x = operand as Float;
    return [where(less(x, 0), -1, where(less(mul(x, -1), 0), 1, 0))];
  },
  Or: ([a, b]) => [not(and(not(a as Bool), not(b as Bool)))],
  LogSoftmax: ([x], { axis }) => {
    const centered = sub(x as Float, reduceMax(x as Float, { axes: [axis] }));
    return [sub(centered, log(reduceSum(exp(centered), { axes: [axis] })))];
  },
  Int8MatMul: ([x, values, scales], _, { integerProducts }) => [
    (integerProducts ? int8Product : int8ProductInFloats)(x as Float, values as Value<"int8">, scales as Float),
  ],
  // As elements instead of rows: each number of an update is added to the row at its index.
  ScatterND: ([x, index, updates]) => {
    const [rows, ...rest] = x!.shape;
    const [count, width] = [flattened(index!.shape), flattened(rest)];
    const places = expand(reshape(index as Int, count, 1), count, width);
    const sum = scatterAddElements(reshape(x as Float, rows!, width), places, reshape(updates as Float, count, width), 0);
    return [reshape(sum, ...x!.shape)];
  },
} satisfies {
  readonly [U in Use]: Decomposition<U extends OpType ? U : U extends "FusedMatMul" ? "MatMul" : "SimplifiedLayerNormalization">;
};

function decomposition(use: Use): Decomposition<OpType> {
  return DECOMPOSITIONS[use] as Decomposition<OpType>;
}
