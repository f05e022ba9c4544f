/** @file (IA)3 (Liu et al. 2022, arXiv:2205.05638; reference: huggingface/peft, tuners/ia3/layer.py) in the graph.
 *
 *      y = l * (W x),   l: [out]         or, on feed-forward modules,   y = W (l * x),   l: [in]
 *
 *  A gate in training scales the adapter's change, not its input: y = (1 + g (l - 1)) * (W x). With g = 1 that is (IA)3,
 *  with g = 0 the base. Scaling the input would also gate the base's W x. */

import type { HostTensor } from "../base/tensor.ts";
import { float32 } from "../base/tensor.ts";
import { add, mul, sub } from "../graph/ops/elementwise.ts";
import type { Ia3Adapter, Ia3Weights } from "./adapter.ts";
import type { KindInGraph } from "./kind-in-graph.ts";
import type { ModuleSizes } from "./modules.ts";

/** The name of a module's scale in a graph. */
export const ia3Name = (module: string) => `${module}.ia3_l`;

/** A new (IA)3 adapter: all scales are 1, so it changes nothing. `feedforward` modules are scaled at their input. */
export function freshIa3(sizes: ModuleSizes, targets: readonly string[], feedforward: ReadonlySet<string>): Ia3Adapter {
  const modules = targets.map((module): [string, Ia3Weights] => {
    const size = sizes.get(module)!;
    const width = feedforward.has(module) ? size.in : size.out;
    return [module, { scale: float32([width], new Float32Array(width).fill(1)), feedforward: feedforward.has(module) }];
  });
  return { kind: "ia3", modules: new Map(modules), warnings: [] };
}

/** The implementation of (IA)3 in a graph. */
export const ia3InGraph: KindInGraph<Ia3Weights> = {
  tensors: (module, { scale }): Record<string, HostTensor<"float32">> => ({ [ia3Name(module)]: scale }),
  withTensors: (module, weights, read) => ({ ...weights, scale: read(ia3Name(module)) }),
  graphKey: ({ feedforward }) => (feedforward ? "in" : "out"),
  project: ({ x, base, module, weights: { feedforward }, size, gate }) => {
    const scale = x.graph.float(ia3Name(module), feedforward ? size.in : size.out);
    const factor = gate ? add(mul(sub(scale, 1), gate), 1) : scale;
    return feedforward ? base(mul(x, factor)) : mul(base(x), factor);
  },
};
