/** @file Runs a graph in float64, node by node. It is the reference for ONNX Runtime's results and for gradients. */

import { reachable } from "../../src/graph/onnx/serialize.ts";
import type { Graph, Value } from "../../src/graph/value.ts";
import { fromHost, type NdArray } from "./array.ts";
import { MEANINGS, type Meaning } from "./operators.ts";

/** The graph's outputs by name. Initializers in files are fed by name like inputs. */
export function evaluate(graph: Graph, feeds: Readonly<Record<string, NdArray>>): Record<string, NdArray> {
  const { nodes } = reachable(graph);
  const known = new Map<Value, NdArray>();
  const numbersOf = (value: Value): NdArray => {
    const constant = graph.constantOf(value);
    const numbers = known.get(value) ?? (constant ? fromHost(constant) : feeds[value.name]);
    if (!numbers) throw new Error(`${value.name} has no numbers: feed it`);
    return numbers;
  };
  for (const { op, inputs, attributes, outputs } of nodes) {
    const meaning = MEANINGS[op] as Meaning<typeof op>;
    const results = meaning(
      inputs.map((input) => input && numbersOf(input)),
      attributes,
    );
    outputs.forEach((output, i) => {
      known.set(output, results[i]!);
    });
  }
  return Object.fromEntries([...graph.outputs].map(([name, value]) => [name, numbersOf(value)]));
}
