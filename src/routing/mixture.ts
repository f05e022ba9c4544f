/** @file The routed update of every projection that an expert covers. For LoRA:
 *
 *      y = W x + sum_j w_j B_j A_j x                        outputs mixed: over the k experts of this token at this module
 *      y = W x + (sum_j w_j B_j) (sum_j w_j A_j) x          parameters mixed: one weighting per sequence (SMEAR)
 *
 *  Outputs are mixed by one operator, which takes the experts and weights of the tokens' routes (graph/lowering/mixture.ts computes it).
 *  If all experts are barred, their weights are 0 and the module's output is the base's. */

import { add } from "../graph/ops/elementwise.ts";
import { expand, unsqueeze } from "../graph/ops/movement.ts";
import { flattened } from "../graph/sizes.ts";
import type { Float, Graph } from "../graph/value.ts";
import type { Linear } from "../models/linear.ts";
import { factorName, stackedFactors } from "./factor-stack.ts";
import type { ModuleShape } from "./mixing.ts";
import { mixingOf } from "./mixings.ts";
import { candidateWeights, chosen, type Route, type Router } from "./router.ts";
import { stackNames } from "./stack.ts";

/** The feed of the rows' bias on the scores: [batch, experts] of 0, or BARRED for experts that a row may not use. */
export const ROW_BIAS = "routing_bias";

export interface RoutedOptions {
  readonly router: Router;
  /** At most the number of experts in the pool. */
  readonly topK: number;
  readonly modules: ReadonlyMap<string, ModuleShape>;
  /** Whether ROW_BIAS is fed. */
  readonly rowBias?: boolean;
  /** Called with each module's route; absent when routes are not needed. */
  readonly onRoute?: (module: string, route: Route) => void;
}

/** `inner` with the routed update added. */
export function routed(graph: Graph, inner: Linear, { router, topK, modules, rowBias = false, onRoute }: RoutedOptions): Linear {
  return (x, module, projection) => {
    const base = (input: Float) => inner(input, module, projection);
    const shape = modules.get(module);
    if (!shape) return base(x);
    const inputs = new Map(
      Object.entries(stackedFactors(shape)).map(([name, factor]) => {
        return [name, graph.input(factorName(module, name), factor.precision, ["experts", ...factor.shape])];
      }),
    );
    const matrix = (name: string) => inputs.get(name)!;
    const vector = (name: string) => inputs.get(name) as Float;
    const narrow = biasedScores(x, module, shape, router, rowBias);
    const scores = () => expand(narrow, x.shape[0]!, x.shape[1]!, "experts");
    const { renormalize = true } = router;
    const route = () => chosen(scores(), topK, { renormalize, barred: shape.barred || rowBias });
    onRoute?.(module, { ...route(), scores: scores() });
    const mixed =
      router.mixes === "outputs" ? { mixes: router.mixes, ...route() } : { mixes: router.mixes, weights: candidateWeights(narrow) };
    return mixingOf(shape.kind).project({ x, base, mixed, shape, vector, matrix });
  };
}

/** The router's scores plus the bars of the module and the row: [batch, sequence or 1, experts] */
function biasedScores(x: Float, module: string, { rows, in: inputs, barred }: ModuleShape, router: Router, rowBias: boolean): Float {
  const { graph } = x;
  const names = stackNames(module);
  const scores = router.scores(x, graph.float(names.prototypes, flattened(["experts", rows]), inputs), rows);
  const open = barred ? add(scores, graph.float(names.bars, "experts")) : scores;
  return rowBias ? add(open, unsqueeze(graph.float(ROW_BIAS, "batch", "experts"), 1)) : open;
}
