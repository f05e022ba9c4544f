/** @file LoRA experts, stacked and mixed:
 *
 *      y = W x + sum_j w_j (B_j A_j x + c_j)                        outputs mixed
 *      y = W x + (sum_j w_j B_j) (sum_j w_j A_j) x + sum_j w_j c_j  parameters mixed
 *
 *      a     [rank, in]     zero rows above an expert's own rank
 *      b     [rank, out]    transposed, with the scaling folded in
 *      bias  [out]          where some expert has one */

import type { LoraWeights } from "../adapters/adapter.ts";
import { copyNumbers } from "../checkpoint/copy-numbers.ts";
import { add } from "../graph/ops/elementwise.ts";
import { matmul } from "../graph/ops/linalg.ts";
import { unsqueeze } from "../graph/ops/movement.ts";
import { fillColumns, type Mixing, meanFactor, mixtureOfOutputs } from "./mixing.ts";

export const loraMixing: Mixing<LoraWeights> = {
  form: () => "",
  factors: (weights, size) => {
    const rank = Math.max(...weights.map((lora) => lora.rank));
    return { a: [rank, size.in], b: [rank, size.out], ...(weights.some(({ bias }) => bias) && { bias: [size.out] }) };
  },
  fill: ({ scaling, a, b, bias }, records, { out }) => {
    copyNumbers(a, records.a!);
    fillColumns(records.b!, b.data, { rows: out, factor: scaling });
    if (bias) for (let i = 0; i < out; i++) records.bias![i] = bias.data[i]! * scaling;
  },
  project: ({ x, base, mixed, shape, factor }) => {
    const bias = shape.factors.bias && factor("bias");
    if (mixed.mixes === "outputs") return add(base(x), mixtureOfOutputs(x, mixed, { a: factor("a"), b: factor("b"), bBias: bias }));
    const { weights } = mixed;
    const low = matmul(x, meanFactor(weights, factor("a")), { transB: true });
    const delta = matmul(low, meanFactor(weights, factor("b")));
    return add(base(x), bias ? add(delta, unsqueeze(meanFactor(weights, bias), 1)) : delta);
  },
};
