/** @file Weights in float16 that stay so in the engine's memory. They are widened in each product, which is exact, so results are those of weights
 *  in float32 up to the order of sums:
 *
 *      x W          x float32(held(W))
 *      E[ids]       float32(E[ids])
 *
 *  An engine computes constant parts of a graph when it loads it: it would widen a weight once, and keep it in float32. `held` prevents that. It
 *  is a Reshape to the weight's own shape, which a feed has a part in: the engine copies nothing, and cannot know the shape before it runs.
 *  bfloat16 is not held: WebGPU has no such numbers, and float16 has too few bits of exponent for them. */

import { int64 } from "../../base/tensor.ts";
import type { OpAttributes } from "../operators.ts";
import { toFloat } from "../ops/elementwise.ts";
import { matmul } from "../ops/linalg.ts";
import { gather, transpose } from "../ops/movement.ts";
import type { Float, Graph, Int, Node, Value } from "../value.ts";
import { copied } from "./copied.ts";

interface HalfOptions {
  /** Store transposed copies for transposed products, for an engine that has no such products. */
  readonly transposes?: boolean;
}

/** The graph with its float16 weights held, or `graph` itself if it has none. */
export function heldInHalf(graph: Graph, { transposes = false }: HalfOptions = {}): Graph {
  const uses = graph.nodes.filter((node) => halfWeightIn(graph, node));
  const feed = feedWithSize(graph);
  if (uses.length === 0 || !feed) return graph;
  return copied(graph, {
    replaced: (node, operands, copyOf) => {
      const half = halfWeightIn(graph, node);
      if (!half) return undefined;
      const weight = copyOf(half) as Value<"float16">;
      if (node.op === "Gather") return [toFloat(gather(weight, operands[1] as Int))];
      const { transB, ...others } = node.attributes as OpAttributes["MatMul"];
      const turns = transB && transposes;
      const held = heldAs(turns ? transpose(weight) : weight, copyOf(feed.value), feed.axis);
      return [matmul(operands[0] as Float, toFloat(held), { ...others, transB: transB && !turns })];
    },
  });
}

/** The stored float16 weight that a product or a look-up widens whole. */
function halfWeightIn(graph: Graph, { op, inputs, attributes }: Node): Value | undefined {
  const isLookUp = op === "Gather" && (attributes as OpAttributes["Gather"]).axis === 0;
  const wide = op === "MatMul" ? inputs[1] : isLookUp ? inputs[0] : undefined;
  const cast = wide && graph.producer(wide);
  if (cast?.op !== "Cast") return undefined;
  const [stored] = cast.inputs;
  return stored?.dtype === "float16" && stored.shape.length === 2 && graph.initializers.has(stored.name) ? stored : undefined;
}

/** A feed with a size that is known only at run time. */
function feedWithSize(graph: Graph): { readonly value: Value; readonly axis: number } | undefined {
  for (const value of graph.inputs.values()) {
    const axis = value.shape.findIndex((size) => typeof size === "string");
    if (axis >= 0) return { value, axis };
  }
  return undefined;
}

/** `weight`, to its own shape + 0 size(feed). */
function heldAs(weight: Value<"float16">, feed: Value, axis: number): Value<"float16"> {
  const { graph, shape } = weight;
  const size = graph.apply("ShapeOf", [feed], { axis })[0]!;
  const nothing = graph.apply("Mul", [size, graph.constant(int64([1], [0]))], {})[0]!;
  const target = graph.apply("Add", [nothing, graph.constant(int64([shape.length], shape as number[]))], {})[0]!;
  return graph.apply("Reshape", [weight, target], { shape })[0] as Value<"float16">;
}
