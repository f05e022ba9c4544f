/** @file Bottleneck adapters in the graph.
 *
 *      parallel  y = W x + up(f(down(x)))           (He et al. 2022, arXiv:2110.04366)
 *      output    y = h + up(f(down(h))), h = W x    (Houlsby et al. 2019, arXiv:1902.00751, at a projection's output)
 *
 *  down(x) = D x + d, D: [size, width];  up(z) = U z + u, U: [out, size];  f one of ReLU, GELU (tanh form), SiLU. */

import { derivedSeed, seededRandom } from "../base/random.ts";
import { float32 } from "../base/tensor.ts";
import { add, geluTanh, mul, relu, silu } from "../graph/ops/elementwise.ts";
import { matmul } from "../graph/ops/linalg.ts";
import type { Float } from "../graph/value.ts";
import type { BottleneckActivation, BottleneckAdapter, BottleneckPlacement, BottleneckWeights } from "./adapter.ts";
import type { KindInGraph } from "./kind-in-graph.ts";
import type { ModuleSizes } from "./modules.ts";

const ACTIVATIONS: Readonly<Record<BottleneckActivation, (x: Float) => Float>> = { relu, gelu_new: geluTanh, silu };

/** The names of a module's adapter tensors in a graph. */
const bottleneckNames = (module: string) => ({
  down: `${module}.down.weight`,
  downBias: `${module}.down.bias`,
  up: `${module}.up.weight`,
  upBias: `${module}.up.bias`,
});

export interface BottleneckOptions {
  readonly targets: readonly string[];
  /** Width of the bottleneck. */
  readonly size: number;
  readonly activation?: BottleneckActivation;
  readonly placement?: BottleneckPlacement;
  readonly seed: number;
}

// Small, like LoRA's A, so that the first steps stay small. U starts at 0, so a new adapter changes nothing.
const INITIAL_DOWN = 0.01;

/** A fresh adapter on every target: D ~ 0.01 N(0, 1), everything else 0. */
export function freshBottleneck(
  sizes: ModuleSizes,
  { targets, size, activation = "relu", placement = "parallel", seed }: BottleneckOptions,
): BottleneckAdapter {
  const modules = targets.map((module): [string, BottleneckWeights] => {
    const { in: inputs, out } = sizes.get(module)!;
    const width = placement === "parallel" ? inputs : out;
    const random = seededRandom(derivedSeed(seed, module));
    const down = float32(
      [size, width],
      new Float32Array(size * width).map(() => INITIAL_DOWN * random.normal()),
    );
    return [module, { activation, placement, down, downBias: float32([size]), up: float32([out, size]), upBias: float32([out]) }];
  });
  return { kind: "bottleneck", modules: new Map(modules), warnings: [] };
}

/** The implementation of bottleneck adapters in a graph. */
export const bottleneckInGraph: KindInGraph<BottleneckWeights> = {
  tensors: (module, { down, downBias, up, upBias }) => {
    const names = bottleneckNames(module);
    return { [names.down]: down, [names.downBias]: downBias, [names.up]: up, [names.upBias]: upBias };
  },
  withTensors: (module, weights, read) => {
    const names = bottleneckNames(module);
    return { ...weights, down: read(names.down), downBias: read(names.downBias), up: read(names.up), upBias: read(names.upBias) };
  },
  graphKey: ({ activation, placement, downBias }) => `${downBias.data.length}:${activation}:${placement}`,
  project: ({ x, base, module, weights: { activation, placement, downBias }, size, gate }) => {
    const { graph } = x;
    const names = bottleneckNames(module);
    const [width, narrow] = [placement === "parallel" ? size.in : size.out, downBias.data.length];
    const y = base(x);
    const read = placement === "parallel" ? x : y;
    const input = gate ? mul(read, gate) : read;
    const down = add(matmul(input, graph.float(names.down, narrow, width), { transB: true }), graph.float(names.downBias, narrow));
    const hidden = ACTIVATIONS[activation](down);
    const up = add(matmul(hidden, graph.float(names.up, size.out, narrow), { transB: true }), graph.float(names.upBias, size.out));
    return add(y, up);
  },
};
