/** @file Bottleneck experts, stacked and mixed. f is the activation; v is the module's input x (parallel) or output W x.
 *
 *      y = W x + sum_j w_j (U_j f(D_j v + d_j) + u_j)                 outputs mixed
 *      y = W x + U̅ f(D̅ v + d̅) + u̅,  with D̅ = sum_j w_j D_j ...      parameters mixed
 *
 *      down [size, width]   downBias [size]   up [width, size]   upBias [width]     zeros where an expert is narrower */

import type { BottleneckActivation, BottleneckWeights } from "../adapters/adapter.ts";
import { bottleneckForm, parsedBottleneckForm } from "../adapters/bottleneck-form.ts";
import { add, geluTanh, relu, silu } from "../graph/ops/elementwise.ts";
import { matmul } from "../graph/ops/linalg.ts";
import { pad, slice, unsqueeze } from "../graph/ops/movement.ts";
import type { Float } from "../graph/value.ts";
import { fillRows, fusedMixture, type Mixing, type MixOptions, meanFactor } from "./mixing.ts";
import { candidateWeights } from "./router.ts";

/** The fused operator's names of activations, by Skein's names. Its "gelu" is the tanh form. */
const ACTIVATIONS: Readonly<Record<BottleneckActivation, { fused: "relu" | "gelu" | "silu"; plain: (x: Float) => Float }>> = {
  relu: { fused: "relu", plain: relu },
  gelu_new: { fused: "gelu", plain: geluTanh },
  silu: { fused: "silu", plain: silu },
};

export const bottleneckMixing: Mixing<BottleneckWeights> = {
  form: bottleneckForm,
  factors: (weights, { in: inputs, out }) => {
    const width = Math.max(out, ...weights.map(({ placement }) => (placement === "parallel" ? inputs : out)));
    const size = Math.max(...weights.map(({ downBias }) => downBias.data.length));
    return { down: [size, width], downBias: [size], up: [width, size], upBias: [width] };
  },
  fill: ({ down, downBias, up, upBias }, records, { factors }) => {
    const [size = 0, width = 0] = factors.down!;
    fillRows(records.down!, down.data, { length: down.shape[1]!, width });
    fillRows(records.up!, up.data, { length: up.shape[1]!, width: size });
    records.downBias!.set(downBias.data);
    records.upBias!.set(upBias.data);
  },
  project: (options) => {
    const { x, base, shape } = options;
    const { activation, placement } = parsedBottleneckForm(shape.form);
    const [, width = 0] = shape.factors.down!;
    const y = base(x);
    const read = placement === "parallel" ? x : y;
    const wide = pad(read, -1, 0, width - (read.shape[2] as number));
    return add(y, slice(mixed(wide, ACTIVATIONS[activation], options), -1, 0, shape.out));
  },
};

function mixed(
  wide: Float,
  { fused, plain }: { fused: "relu" | "gelu" | "silu"; plain: (x: Float) => Float },
  { scores, topK, mixes, factor }: MixOptions,
): Float {
  if (mixes === "outputs") {
    const layers = [factor("down"), factor("downBias"), factor("up"), factor("upBias")] as const;
    return fusedMixture(wide, scores, layers, { k: topK, activation: fused });
  }
  const weights = candidateWeights(scores);
  const mean = (name: string) => meanFactor(weights, factor(name));
  const hidden = plain(add(matmul(wide, mean("down"), { transB: true }), unsqueeze(mean("downBias"), 1)));
  return add(matmul(hidden, mean("up"), { transB: true }), unsqueeze(mean("upBias"), 1));
}
