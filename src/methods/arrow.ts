/** @file Arrow (Ostapenko et al. 2024, arXiv:2405.11157). It needs no training and no data, only the experts' own weights.
 *
 *      v_z = the unit vector that B_z A_z stretches most (its top right singular vector)
 *      s_z = |uᵀ v_z| / T  (/ sqrt(n))          u: the raw token at this module's input, n its width
 *
 *  The authors' code has a simpler v_z too, the mean of A_z's rows ("mean"; "simple" there). Two sets of defaults are in use:
 *    arrow       the PHATGOOSE authors' (r-three/phatgoose, src/models/addons/moe.py:394-418): T = 10, / sqrt(n), top-2
 *    arrow-peft  PEFT's (huggingface/peft, tuners/lora/arrow.py): T = 1, no sqrt(n), top-3, and v_z by 15 power iterations
 *                from a random start, which may not converge: v <- Aᵀ (Bᵀ B) (A v), normalized. */

import * as z from "zod";
import type { LoraWeights } from "../adapters/adapter.ts";
import type { Expert } from "../adapters/expert.ts";
import { topRightSingularVector } from "../adapters/linalg.ts";
import { float32, type HostTensor, madeOnDemand } from "../base/tensor.ts";
import { abs } from "../graph/ops/elementwise.ts";
import { products, type Scaling } from "../routing/comparison.ts";
import { type Router, remembered } from "../routing/router.ts";
import { loraOf } from "../routing/stack.ts";
import { torchNormal } from "../routing/torch-normal.ts";
import { method } from "./method.ts";
import { openRouter } from "./open-router.ts";
import { general, scored } from "./options.ts";

type Tensor = HostTensor<"float32">;

export interface ArrowOptions extends Partial<Scaling> {
  readonly name?: string;
  readonly topK?: number;
  readonly renormalize?: boolean;
  /** How v_z is computed; "power" as in PEFT, with the seed of its rng_seed. */
  readonly prototype?: { readonly kind: "singular" | "mean" } | { readonly kind: "power"; readonly seed: number };
}

export function arrow({
  name = "arrow",
  topK = 2,
  renormalize = true,
  temperature = 10,
  scaleBySqrt = true,
  prototype = { kind: "singular" },
}: ArrowOptions = {}): Router {
  return {
    name,
    key: `arrow T=${temperature} sqrt=${scaleBySqrt} ${renormalize}`,
    topK,
    mixes: "outputs",
    renormalize,
    remedy: "Use LoRA experts.",
    ...(prototype.kind !== "mean" && { computation: prototype.kind === "power" ? `arrow-power-${prototype.seed}` : "arrow-singular" }),
    prototype: remembered((expert: Expert, module: string) => {
      const lora = loraOf(expert).get(module);
      return lora && madeOnDemand([1, lora.a.shape[1]!], () => direction(lora, prototype));
    }),
    scores: (x, prototypes) => abs(products(x, prototypes, { temperature, scaleBySqrt })),
  };
}

/** An expert's vector at a module: [in]. */
function direction({ a, b }: LoraWeights, how: NonNullable<ArrowOptions["prototype"]>): Float32Array {
  if (how.kind === "power") return powerIteration(a, b, torchNormal(a.shape[1]!, how.seed)).data;
  return how.kind === "mean" ? meanRow(a) : Float32Array.from(topRightSingularVector(a, b));
}

/** The mean of A's rows: [in]. a: [rank, in] */
function meanRow({ shape: [rank = 0, width = 0], data }: Tensor): Float32Array {
  const mean = (column: number) => Array.from({ length: rank }, (_, row) => data[row * width + column]! / rank);
  return Float32Array.from({ length: width }, (_, i) => mean(i).reduce((sum, value) => sum + value, 0));
}

const ITERATIONS = 15; // PEFT's
const EPSILON = 1e-8; // added to the norm, as in PEFT

/** PEFT's estimate of v: [1, in], from a start [in]. a: [rank, in], b: [out, rank] */
export function powerIteration(
  { shape: [rank = 0, width = 0], data: a }: Tensor,
  { shape: [out = 0], data: b }: Tensor,
  start: Float32Array,
): Tensor {
  const gram = Array.from({ length: rank * rank }, (_, at) => {
    let sum = 0;
    for (let o = 0; o < out; o++) sum += b[o * rank + Math.floor(at / rank)]! * b[o * rank + (at % rank)]!;
    return sum;
  });
  let v = normalized(Float64Array.from(start));
  for (let pass = 0; pass < ITERATIONS; pass++) {
    const low = Array.from({ length: rank }, (_, r) => v.reduce((sum, value, i) => sum + a[r * width + i]! * value, 0));
    const turned = low.map((_, r) => low.reduce((sum, value, c) => sum + gram[r * rank + c]! * value, 0));
    v = normalized(Float64Array.from(v, (_, i) => turned.reduce((sum, value, r) => sum + a[r * width + i]! * value, 0)));
  }
  return float32([1, width], Float32Array.from(v));
}

function normalized(v: Float64Array): Float64Array {
  const norm = Math.sqrt(v.reduce((sum, value) => sum + value * value, 0)) + EPSILON;
  return v.map((value) => value / norm);
}

const options = {
  ...scored({ topK: 2, temperature: 10, scaleBySqrt: true }),
  prototype: z
    .enum(["singular", "mean"])
    .default("singular")
    .meta({ description: "An expert's vector: the direction it changes most, or the mean of A's rows." }),
  general,
};

export const arrowMethod = method({
  name: "arrow",
  description: "The direction each expert changes most against each token, as the PHATGOOSE authors have it.",
  needs: "LoRA experts",
  options: z.strictObject(options),
  router: ({ general, prototype, ...rest }) => (general ? undefined : arrow({ ...rest, prototype: { kind: prototype } })),
  open: (setting, { general, prototype, ...rest }) => openRouter(setting, arrow({ ...rest, prototype: { kind: prototype } }), general),
});
