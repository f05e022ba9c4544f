/** @file A graph as text to read and to compare: inputs and outputs first, then one line for each node.
 *
 *      graph forward
 *      input  x: float32[batch, sequence, 64]
 *      file   q.weight: float32[64, 64] at model.safetensors
 *      output logits: float32[batch, sequence, 64] = %matmul_3
 *      %matmul_3: float32[batch, sequence, 64] = MatMul(%x, %q.weight) {transB}  # decoder.block.0 */

import { reachable } from "./onnx/serialize.ts";
import { show } from "./sizes.ts";
import type { Graph, Initializer, Node, Value } from "./value.ts";

/** Constants with at most this many numbers are printed where they are used. */
const WRITTEN_OUT = 8;
/** Attributes that the type of the result shows already. */
const SHOWN_BY_TYPE = new Set(["shape", "size", "to"]);

/** The nodes that the outputs depend on, as text. A graph without outputs is printed whole. */
export function graphText(graph: Graph): string {
  const whole = graph.outputs.size === 0;
  const { nodes, used } = whole ? { nodes: graph.nodes, used: undefined } : reachable(graph);
  const isUsed = (value: Value) => !used || used.has(value);
  const lines = [
    `graph ${graph.name}`,
    ...[...graph.inputs.values()].filter(isUsed).map((value) => `input  ${value.name}: ${show(value)}`),
    ...[...graph.initializers.values()].filter(({ value }) => isUsed(value)).flatMap(initializerLine),
    ...[...graph.outputs].map(([name, value]) => `output ${name}: ${show(value)} = ${operandText(value)}`),
    ...nodes.map(nodeLine),
  ];
  return `${lines.join("\n")}\n`;
}

function initializerLine(initializer: Initializer): string[] {
  const { value } = initializer;
  if (initializer.kind === "file") return [`file   ${value.name}: ${show(value)} at ${initializer.region.file.split(/[\\/]/).at(-1)}`];
  return initializer.tensor.data.length > WRITTEN_OUT ? [`const  ${value.name}: ${show(value)}`] : [];
}

function nodeLine({ op, inputs, attributes, outputs, scope }: Node): string {
  const results = outputs.map((value) => `%${value.name}: ${show(value)}`).join(", ");
  const operands = inputs.map((value) => (value ? operandText(value) : "none")).join(", ");
  return `${results} = ${op}(${operands})${attributesText(attributes)}${scope ? `  # ${scope}` : ""}`;
}

function operandText(value: Value): string {
  const constant = value.graph.constantOf(value);
  if (!constant || constant.data.length > WRITTEN_OUT) return `%${value.name}`;
  const numbers = Array.from(constant.data as ArrayLike<number | bigint>, (number) => String(Number(Number(number).toPrecision(7))));
  return constant.shape.length === 0 ? numbers[0]! : `[${numbers.join(", ")}]`;
}

/** Flags that are true, by name, and the other attributes. Flags that are false and an alpha of 1 are left out. */
function attributesText(attributes: Node["attributes"]): string {
  const parts = Object.entries(attributes).flatMap(([name, value]) => {
    if (SHOWN_BY_TYPE.has(name) || value === false || (name === "alpha" && value === 1)) return [];
    if (value === true) return [name];
    return [`${name}=${Array.isArray(value) ? `[${value.join(", ")}]` : String(value)}`];
  });
  return parts.length === 0 ? "" : ` {${parts.join(", ")}}`;
}
