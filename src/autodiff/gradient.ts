/** @file Reverse-mode differentiation (Speelpenning 1980). Gradients are more nodes of the same graph.
 *
 *  The walk goes backwards from the loss. Each node's rule turns dLoss/dOutput into dLoss/dOperand, and the contributions
 *  to a value that is used several times add up. Nodes that lead to no parameter are skipped. */

import { invariant } from "../base/errors.ts";
import type { OpType } from "../graph/operators.ts";
import { scalar } from "../graph/ops/elementwise.ts";
import type { Float, Node, Value } from "../graph/value.ts";
import type { Rule, Stop } from "./rule.ts";
import { elementwise } from "./rules/elementwise.ts";
import { linalg } from "./rules/linalg.ts";
import { movement } from "./rules/movement.ts";
import { sharedProducts, sumOf } from "./thin-products.ts";

const RULES: { readonly [Op in OpType]: Rule<Op> | Stop } = { ...elementwise, ...movement, ...linalg };

/** Whether the operator has a gradient, or why not. */
export function gradientRule(op: OpType): Rule<OpType> | Stop {
  return RULES[op] as Rule<OpType> | Stop;
}

/** dLoss/dParameter for each of `parameters`, as values of the loss's graph. `loss` is a scalar. */
export function gradients(loss: Float, parameters: readonly Float[]): Float[] {
  invariant(loss.shape.length === 0, `the loss is a scalar, not [${loss.shape}]`);
  const { graph } = loss;
  const active = reaching(graph.nodes, parameters);
  const known = new Map<Value, Float[]>([[loss, [scalar(loss, 1)]]]);
  for (const node of [...graph.nodes].reverse()) {
    if (!node.inputs.some((input) => input && active.has(input))) continue;
    const [first, ...others] = node.outputs;
    invariant(!others.some((output) => known.has(output)), `only the first result of ${node.op} has a gradient`);
    const contributions = known.get(first!);
    if (!contributions) continue;
    graph.scope(`grad/${node.scope}`, () => propagate(node, sumOf(contributions), active, known));
  }
  const sums = parameters.map((parameter) => {
    const contributions = known.get(parameter);
    invariant(contributions, `the loss does not depend on ${parameter.name}`);
    return sumOf(contributions);
  });
  return sharedProducts(sums);
}

/** The values that depend on a parameter. */
function reaching(nodes: readonly Node[], parameters: readonly Float[]): ReadonlySet<Value> {
  const active = new Set<Value>(parameters);
  for (const { inputs, outputs } of nodes) {
    if (inputs.some((input) => input && active.has(input))) for (const output of outputs) active.add(output);
  }
  return active;
}

function propagate(node: Node, gradient: Float, active: ReadonlySet<Value>, known: Map<Value, Float[]>): void {
  const rule = gradientRule(node.op);
  if ("stop" in rule) {
    invariant(!rule.unwritten, `${node.op} has no gradient: ${rule.stop}`);
    return;
  }
  const wanted = node.inputs.map((input) => input !== undefined && active.has(input));
  rule(node, gradient, wanted).forEach((contribution, i) => {
    const input = node.inputs[i];
    if (!contribution || !input || !wanted[i]) return;
    const contributions = known.get(input);
    if (contributions) contributions.push(contribution);
    else known.set(input, [contribution]);
  });
}
