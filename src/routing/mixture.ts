/** @file The routed update, woven into every projection that some expert covers:
 *
 *      y = W x + sum_j w_j B_j A_j x      over the k experts chosen for this token at this module
 *
 *  Outputs are mixed, never the A's and B's. The sum is one fused operator (com.microsoft.MoE) that takes the raw
 *  scores, so cost grows with k and hardly with the number of experts. */

import type { Graph } from "../graph/graph.ts";
import { add } from "../graph/ops/elementwise.ts";
import { flattenRows, pad, reshape, slice, unsqueeze } from "../graph/ops/movement.ts";
import type { Float } from "../graph/value.ts";
import { type Linear, weave } from "../models/linear.ts";
import { chosen, type Route, type Router } from "./router.ts";
import { type ModuleShape, stackNames } from "./stack.ts";

export interface RoutedOptions {
  readonly router: Router;
  /** Never more than the pool has experts. */
  readonly topK: number;
  readonly modules: ReadonlyMap<string, ModuleShape>;
  /** Feed `routing_bias` [batch, experts]: 0, or BARRED for experts a row may not use. */
  readonly rowBias?: boolean;
  /** Called with each module's route when routes are wanted. */
  readonly onRoute?: (module: string, route: Route) => void;
}

/** `inner` with the routed update added. */
export function routed(graph: Graph, inner: Linear, { router, topK, modules, rowBias, onRoute }: RoutedOptions): Linear {
  return weave(inner, (x, module) => {
    const shape = modules.get(module);
    if (!shape) return undefined;
    const names = stackNames(module);
    let scores = add(router.scores(x, graph.float(names.prototypes, "experts", shape.rows, shape.in)), graph.float(names.bars, "experts"));
    if (rowBias) scores = add(scores, unsqueeze(graph.float("routing_bias", "batch", "experts"), 1));
    onRoute?.(module, chosen(scores, topK));
    return mixture(x, scores, topK, module, shape);
  });
}

/** sum_j w_j B_j A_j x. x: [batch, sequence, in], scores: [batch, sequence, experts] -> [batch, sequence, out] */
function mixture(x: Float, scores: Float, k: number, module: string, { in: inputs, out, rank }: ModuleShape): Float {
  const { graph } = x;
  const width = Math.max(inputs, out);
  const names = stackNames(module);
  const [a, b] = [graph.float(names.a, "experts", rank, width), graph.float(names.b, "experts", width, rank)];
  const rows = pad(flattenRows(x), -1, 0, width - inputs);
  const sum = graph.apply("MoE", [rows, flattenRows(scores), a, undefined, b], { k })[0] as Float;
  return reshape(slice(sum, -1, 0, out), x.shape[0]!, x.shape[1]!, out);
}
