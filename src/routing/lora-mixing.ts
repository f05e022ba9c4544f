/** @file LoRA experts, stacked and mixed:
 *
 *      y = W x + sum_j w_j (B_j A_j x + c_j)                        outputs mixed
 *      y = W x + (sum_j w_j B_j) (sum_j w_j A_j) x + sum_j w_j c_j  parameters mixed
 *
 *      a     [rank, width]    zero rows above an expert's own rank
 *      b     [width, rank]    scaling folded in
 *      bias  [width]          where some expert has one
 *
 *  width is the larger of the module's in and out: the fused mixture needs square experts, so the shorter side is padded. */

import type { LoraWeights } from "../adapters/adapter.ts";
import { copyNumbers } from "../checkpoint/copy-numbers.ts";
import { add } from "../graph/ops/elementwise.ts";
import { matmul } from "../graph/ops/linalg.ts";
import { pad, slice, unsqueeze } from "../graph/ops/movement.ts";
import { fillRows, fusedMixture, type Mixing, meanFactor } from "./mixing.ts";
import { candidateWeights } from "./router.ts";

export const loraMixing: Mixing<LoraWeights> = {
  form: () => "",
  factors: (weights, size) => {
    const width = Math.max(size.in, size.out);
    const rank = Math.max(...weights.map((lora) => lora.rank));
    return { a: [rank, width], b: [width, rank], ...(weights.some(({ bias }) => bias) && { bias: [width] }) };
  },
  fill: ({ rank, scaling, a, b, bias }, records, { in: inputs, out, factors }) => {
    const [stackRank = 0, width = 0] = factors.a!;
    if (inputs === width) copyNumbers(a, records.a!);
    else fillRows(records.a!, a.data, { length: inputs, width });
    if (rank === stackRank) copyNumbers(b, records.b!);
    else fillRows(records.b!, b.data, { length: rank, width: stackRank });
    if (scaling !== 1) for (let i = 0; i < out * stackRank; i++) records.b![i]! *= scaling;
    if (bias) for (let i = 0; i < out; i++) records.bias![i] = bias.data[i]! * scaling;
  },
  project: ({ x, base, scores, topK, mixes, shape, factor }) => {
    const [, width = 0] = shape.factors.a!;
    const wide = pad(x, -1, 0, width - shape.in);
    const bias = shape.factors.bias && factor("bias");
    if (mixes === "outputs") {
      const sum = fusedMixture(wide, scores, [factor("a"), undefined, factor("b"), bias], { k: topK });
      return add(base(x), slice(sum, -1, 0, shape.out));
    }
    const weights = candidateWeights(scores);
    const low = matmul(wide, meanFactor(weights, factor("a")), { transB: true });
    const delta = matmul(low, meanFactor(weights, factor("b")), { transB: true });
    const sum = bias ? add(delta, unsqueeze(meanFactor(weights, bias), 1)) : delta;
    return add(base(x), slice(sum, -1, 0, shape.out));
  },
};
