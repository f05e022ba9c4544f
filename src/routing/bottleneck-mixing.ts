/** @file Bottleneck experts, stacked and mixed. f is the activation; v is the module's input x (parallel) or output W x.
 *
 *      y = W x + sum_j w_j (U_j f(D_j v + d_j) + u_j)                 outputs mixed
 *      y = W x + U̅ f(D̅ v + d̅) + u̅,  with D̅ = sum_j w_j D_j ...      parameters mixed
 *
 *      down [size, width of v]   downBias [size]   up [size, out], transposed   upBias [out]     zeros where an expert is narrower */

import type { BottleneckActivation, BottleneckWeights } from "../adapters/adapter.ts";
import { bottleneckForm, parsedBottleneckForm } from "../adapters/bottleneck-form.ts";
import { copyNumbers } from "../checkpoint/copy-numbers.ts";
import { add, geluTanh, relu, silu } from "../graph/ops/elementwise.ts";
import { matmul } from "../graph/ops/linalg.ts";
import { unsqueeze } from "../graph/ops/movement.ts";
import type { Float } from "../graph/value.ts";
import { fillColumns, type Mixing, meanFactor, mixtureOfOutputs } from "./mixing.ts";

/** The mixture's names of activations, by the adapters' names. Its "gelu" is the tanh form. */
const ACTIVATIONS: Readonly<Record<BottleneckActivation, { named: "relu" | "gelu" | "silu"; plain: (x: Float) => Float }>> = {
  relu: { named: "relu", plain: relu },
  gelu_new: { named: "gelu", plain: geluTanh },
  silu: { named: "silu", plain: silu },
};

export const bottleneckMixing: Mixing<BottleneckWeights> = {
  form: bottleneckForm,
  factors: (weights, { in: inputs, out }) => {
    const width = weights.some(({ placement }) => placement === "parallel") ? inputs : out; // one form, so one placement
    const size = Math.max(...weights.map(({ downBias }) => downBias.data.length));
    return { down: [size, width], downBias: [size], up: [size, out], upBias: [out] };
  },
  fill: ({ down, downBias, up, upBias }, records, { out }) => {
    copyNumbers(down, records.down!);
    fillColumns(records.up!, up.data, { rows: out });
    records.downBias!.set(downBias.data);
    records.upBias!.set(upBias.data);
  },
  project: ({ x, base, mixed, shape, factor }) => {
    const { activation, placement } = parsedBottleneckForm(shape.form);
    const { named, plain } = ACTIVATIONS[activation];
    const y = base(x);
    const read = placement === "parallel" ? x : y;
    if (mixed.mixes === "outputs") {
      const layers = { a: factor("down"), aBias: factor("downBias"), b: factor("up"), bBias: factor("upBias") };
      return add(y, mixtureOfOutputs(read, mixed, layers, { activation: named }));
    }
    const mean = (name: string) => meanFactor(mixed.weights, factor(name));
    const hidden = plain(add(matmul(read, mean("down"), { transB: true }), unsqueeze(mean("downBias"), 1)));
    return add(y, add(matmul(hidden, mean("up")), unsqueeze(mean("upBias"), 1)));
  },
};
