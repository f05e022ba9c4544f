/** @file Bottleneck experts, stacked and mixed. f is the activation; v is the module's input x (parallel) or output W x.
 *
 *      y = W x + sum_j w_j (U_j f(D_j v + d_j) + u_j)                 outputs mixed
 *      y = W x + U̅ f(D̅ v + d̅) + u̅,  with D̅ = sum_j w_j D_j ...      parameters mixed
 *
 *      down [size, width of v]   downBias [size]   up [size, out], transposed   upBias [out]     zeros where an expert is narrower */

import type { BottleneckActivation, BottleneckWeights } from "../adapters/adapter.ts";
import { bottleneckForm, parsedBottleneckForm } from "../adapters/bottleneck-form.ts";
import { borrowedBits, borrowedNumbers, copyNumbers } from "../checkpoint/copy-numbers.ts";
import { add, geluTanh, relu, silu } from "../graph/ops/elementwise.ts";
import { matmul } from "../graph/ops/linalg.ts";
import { unsqueeze } from "../graph/ops/movement.ts";
import type { Float } from "../graph/value.ts";
import { commonPrecision, fillColumns, type Matrices, type Mixing, meanFactor, mixtureOfOutputs } from "./mixing.ts";

/** The mixture's names of activations, by the adapters' names. Its "gelu" is the tanh form. */
const ACTIVATIONS: Readonly<Record<BottleneckActivation, { named: "relu" | "gelu" | "silu"; plain: (x: Float) => Float }>> = {
  relu: { named: "relu", plain: relu },
  gelu_new: { named: "gelu", plain: geluTanh },
  silu: { named: "silu", plain: silu },
};

export const bottleneckMixing: Mixing<BottleneckWeights> = {
  form: bottleneckForm,
  holding: (weights) => ({ precision: commonPrecision(weights.flatMap(({ down, up }) => [down, up])), scaled: false }),
  factors: (weights, { in: inputs, out }) => {
    const width = weights.some(({ placement }) => placement === "parallel") ? inputs : out; // one form, so one placement
    const size = Math.max(...weights.map(({ downBias }) => downBias.data.length));
    return { down: [size, width], downBias: [size], up: [size, out], upBias: [out] };
  },
  fill: ({ down, downBias, up, upBias }, { matrices, vectors }, { out, precision }) => {
    copyNumbers(down, matrices.down!);
    fillColumns(matrices.up!, precision === "float32" ? borrowedNumbers(up) : borrowedBits(up), { rows: out });
    vectors.downBias!.set(downBias.data);
    vectors.upBias!.set(upBias.data);
  },
  project: ({ x, base, mixed, shape, vector, matrix }) => {
    const { activation, placement } = parsedBottleneckForm(shape.form);
    const { named, plain } = ACTIVATIONS[activation];
    const y = base(x);
    const read = placement === "parallel" ? x : y;
    if (mixed.mixes === "outputs") {
      const layers = { a: matrix("down"), aBias: vector("downBias"), b: matrix("up"), bBias: vector("upBias") };
      return add(y, mixtureOfOutputs(read, mixed, layers, { activation: named }));
    }
    const mean = (factor: Matrices) => meanFactor(mixed.weights, factor);
    const hidden = plain(add(matmul(read, mean(matrix("down")), { transB: true }), unsqueeze(mean(vector("downBias")), 1)));
    return add(y, add(matmul(hidden, mean(matrix("up"))), unsqueeze(mean(vector("upBias")), 1)));
  },
};
