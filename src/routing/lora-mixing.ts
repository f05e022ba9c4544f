/** @file LoRA experts, stacked and mixed:
 *
 *      y = W x + sum_j w_j (B_j A_j x + c_j)                        outputs mixed
 *      y = W x + (sum_j w_j B_j) (sum_j w_j A_j) x + sum_j w_j c_j  parameters mixed
 *
 *      a     [rank, in]     zero rows above an expert's own rank
 *      b     [rank, out]    transposed, with the scaling folded in
 *      bias  [out]          where some expert has one, with the scaling folded in
 *
 *  Numbers that are held in 16 bits take no factor. There the scaling is a factor of the weight w_j instead:
 *
 *      scaling  []          where some expert's is not 1 */

import type { LoraWeights } from "../adapters/adapter.ts";
import { borrowedBits, borrowedNumbers, copyNumbers } from "../checkpoint/copy-numbers.ts";
import { add, mul } from "../graph/ops/elementwise.ts";
import { matmul } from "../graph/ops/linalg.ts";
import { gather, unsqueeze } from "../graph/ops/movement.ts";
import { commonPrecision, fillColumns, type Mixing, meanFactor, mixtureOfOutputs } from "./mixing.ts";

export const loraMixing: Mixing<LoraWeights> = {
  form: () => "",
  holding: (weights) => {
    const precision = commonPrecision(weights.flatMap(({ a, b }) => [a, b]));
    return { precision, scaled: precision !== "float32" && weights.some(({ scaling }) => scaling !== 1) };
  },
  factors: (weights, size) => {
    const rank = Math.max(...weights.map((lora) => lora.rank));
    return { a: [rank, size.in], b: [rank, size.out], ...(weights.some(({ bias }) => bias) && { bias: [size.out] }) };
  },
  fill: ({ scaling, a, b, bias }, { matrices, vectors }, { out, precision, scaled }) => {
    copyNumbers(a, matrices.a!);
    const factor = precision === "float32" ? scaling : 1;
    fillColumns(matrices.b!, precision === "float32" ? borrowedNumbers(b) : borrowedBits(b), { rows: out, factor });
    if (bias) for (let i = 0; i < out; i++) vectors.bias![i] = bias.data[i]! * factor;
    if (scaled) vectors.scaling![0] = scaling;
  },
  project: ({ x, base, mixed, shape, vector, matrix }) => {
    const [a, b, bias] = [matrix("a"), matrix("b"), shape.factors.bias && vector("bias")];
    if (mixed.mixes === "outputs") {
      const weights = shape.scaled ? mul(mixed.weights, gather(vector("scaling"), mixed.experts)) : mixed.weights;
      return add(base(x), mixtureOfOutputs(x, { ...mixed, weights }, { a, b, bBias: bias }));
    }
    const weights = shape.scaled ? mul(mixed.weights, vector("scaling")) : mixed.weights;
    const low = matmul(x, meanFactor(mixed.weights, a), { transB: true });
    const delta = matmul(low, meanFactor(weights, b));
    return add(base(x), bias ? add(delta, unsqueeze(meanFactor(weights, bias), 1)) : delta);
  },
};
