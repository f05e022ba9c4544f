/** @file The first seam: every projection of every architecture is one call of a `Linear`.
 *
 *      base model     baseLinear(weights)
 *      train expert   weave(base, (x, m) => loraDelta(x, lora[m]))
 *      train gate     weave(base, (x, m) => loraDelta(gated(x, gate[m]), lora[m]))
 *      route          weave(base, (x, m) => mixture(x, pool[m], router.route(x, m)))
 *
 *  The architecture does not depend on what is woven in. */

import { add } from "../graph/ops/elementwise.ts";
import { matmul } from "../graph/ops/linalg.ts";
import type { Float } from "../graph/value.ts";

export interface Projection {
  readonly in: number;
  readonly out: number;
  /** The checkpoint holds `<module>.bias` [out]. */
  readonly bias?: boolean;
  /** The checkpoint stores the weight [in, out], as GPT-2's Conv1D does, instead of Hugging Face's usual [out, in]. */
  readonly inByOut?: boolean;
  /** The checkpoint's tensor, if it is not `<module>.weight`: a tied head uses the embeddings' tensor. */
  readonly tensor?: string;
}

/** y = W x (+ b) for the projection `module`, the module's path in the model. x: [batch, sequence, in] -> [batch, sequence, out] */
export type Linear = (x: Float, module: string, projection: Projection) => Float;

/** A tensor of the checkpoint by its name, in float32. */
export type Weights = (tensor: string, ...shape: readonly number[]) => Float;

/** The projection of the base model: frozen, or trained in full fine-tuning. Quantized bases replace this function. */
export function baseLinear(weights: Weights): Linear {
  return (x, module, { in: inputs, out, bias, inByOut, tensor = `${module}.weight` }) => {
    const y = inByOut ? matmul(x, weights(tensor, inputs, out)) : matmul(x, weights(tensor, out, inputs), { transB: true });
    return bias ? add(y, weights(`${module}.bias`, out)) : y;
  };
}

/** The update of a projection's output; undefined leaves the module unchanged. */
export type Delta = (x: Float, module: string, projection: Projection) => Float | undefined;

/** `inner` plus `delta`. */
export function weave(inner: Linear, delta: Delta): Linear {
  return (x, module, projection) => {
    const y = inner(x, module, projection);
    const d = delta(x, module, projection);
    return d ? add(y, d) : y;
  };
}
