/** @file Copies of graphs with some nodes or feeds changed. */

import { createGraph } from "../graph.ts";
import { reachable } from "../onnx/serialize.ts";
import type { DType } from "../sizes.ts";
import type { Graph, Node, Value } from "../value.ts";

export interface GraphChange {
  /** The dtype of a feed. Default: as it is. */
  readonly dtypeOf?: (feed: Value) => DType;
  /** What takes the place of a node's outputs, from its operands in the copy; undefined: the node itself. `copyOf`: other values before it. */
  readonly replaced: (
    node: Node,
    operands: readonly (Value | undefined)[],
    copyOf: (value: Value) => Value,
  ) => readonly Value[] | undefined;
}

/** A copy of the nodes that the outputs need, with a change. */
export function copied(graph: Graph, { dtypeOf = ({ dtype }) => dtype, replaced }: GraphChange): Graph {
  const copy = createGraph(graph.name);
  const known = new Map<Value, Value>();
  for (const [name, value] of graph.inputs) known.set(value, copy.input(name, dtypeOf(value), value.shape));
  for (const [name, initializer] of graph.initializers) {
    const { value } = initializer;
    const same =
      initializer.kind === "file"
        ? copy.file(name, value.dtype, value.shape, initializer.region)
        : copy.constant(initializer.tensor as never);
    known.set(value, same);
  }
  const copyOf = (value: Value) => known.get(value)!;
  for (const node of reachable(graph).nodes) {
    const operands = node.inputs.map((input) => input && known.get(input)!);
    const results = copy.scope(node.scope, () => replaced(node, operands, copyOf) ?? copy.apply(node.op, operands, node.attributes));
    node.outputs.forEach((output, i) => {
      known.set(output, results[i]!);
    });
  }
  for (const [name, value] of graph.outputs) copy.output(name, known.get(value)!);
  return copy;
}
