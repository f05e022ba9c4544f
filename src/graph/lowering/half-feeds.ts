/** @file Feeds in 16 bits, in the form that an engine takes.
 *
 *      float16     as it is
 *      bfloat16    its bits as uint16, since the engine's library for JavaScript has no such tensor. Whole numbers are moved as bits; where
 *                  they are widened, the bits become bfloat16 first, which the engine widens.
 *
 *  An engine without numbers in 16 bits gets both in float32, and nothing is widened. */

import type { OpAttributes } from "../operators.ts";
import type { Graph, Node, Value } from "../value.ts";
import { copied } from "./copied.ts";

/** The graph with such feeds, or `graph` itself if none changes. `float16`: whether the engine has numbers in 16 bits. */
export function withHalfFeeds(graph: Graph, float16: boolean): Graph {
  const changed = new Set([...graph.inputs.values()].filter(({ dtype }) => dtype === "bfloat16" || (dtype === "float16" && !float16)));
  if (changed.size === 0) return graph;
  return copied(graph, {
    dtypeOf: (feed) => (changed.has(feed) ? (float16 ? "uint16" : "float32") : feed.dtype),
    replaced: (node, [x]) => (node.op === "Cast" && x && node.inputs[0]!.dtype !== x.dtype ? widened(node, x) : undefined),
  });
}

function widened(node: Node, x: Value): readonly Value[] {
  if (x.dtype === "float32") return [x];
  const bits = x.graph.apply("BitCast", [x], { to: "bfloat16" });
  return x.graph.apply("Cast", bits, node.attributes as OpAttributes["Cast"]);
}
