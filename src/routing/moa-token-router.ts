/** @file MoE-LoRA, the end-to-end baseline of Mixture-of-LoRAs (arXiv:2403.03432). Each module has a router that weighs all LoRAs for
 *  each token; it is trained without domain labels. Skein mixes densely, without top-k or a balancing loss:
 *
 *      y = W x + sum_d softmax(R x)_d scaling_d B_d A_d x,   R: [experts, in] */

import { matmul } from "../graph/ops/linalg.ts";
import { softmax } from "../graph/ops/reduce.ts";
import type { Float } from "../graph/value.ts";
import { type Delta, type Linear, weave } from "../models/linear.ts";
import { type LoraStack, mixtureDelta, stackInputs } from "./moa.ts";

export const tokenRouterName = (module: string) => `moe.${module}.router`;

/** `inner` with the weighted LoRAs added. */
export function tokenMixture(inner: Linear, { shapes }: LoraStack): Linear {
  const delta: Delta = (x: Float, module) => {
    const shape = shapes.get(module);
    if (!shape) return undefined;
    const router = x.graph.float(tokenRouterName(module), shape.scalings.length, shape.in);
    return mixtureDelta(x, softmax(matmul(x, router, { transB: true })), stackInputs(x.graph, module, shape), shape);
  };
  return weave(inner, delta);
}
