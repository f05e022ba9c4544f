/** @file Uses of operators that an engine may lack, so that a graph can be lowered for it.
 *
 *  A use is an operator, or one way to use it. The table of decompositions (lowered.ts) is total over these uses. They are ONNX Runtime's
 *  own operators, which a plain ONNX engine does not have, and operators that some device lacks or computes wrongly. */

import type { Mixture } from "./mixture.ts";

/** Operators of ONNX Runtime alone. */
export const FUSED = [
  /** MatMul with a transposition or a factor. */
  "FusedMatMul",
  "RotaryEmbedding",
  "SimplifiedLayerNormalization",
  "QuickGelu",
  "FastGelu",
] as const;

/** Operators of plain ONNX that some device lacks. */
export const PLAIN = [
  /** SimplifiedLayerNormalization where its second result, 1 / sqrt(mean(x^2) + epsilon), is used: gradients are built from it. */
  "SimplifiedLayerNormalization, second result",
  "Sin",
  "Cos",
  "Sign",
  "Or",
  "LogSoftmax",
  "ScatterND",
] as const;

/** Skein's own operators, which no engine has. Each replaces several nodes that share one gradient rule. */
export const COMPOSED = ["Int8MatMul", "Mixture"] as const;

export type Use = (typeof FUSED)[number] | (typeof PLAIN)[number] | (typeof COMPOSED)[number];

export interface Capabilities {
  /** Uses that the engine cannot run, or computes wrongly, each with the reason. A lowered graph has none of them. */
  readonly lacks: Readonly<Partial<Record<Use, string>>>;
  /** Whether products of 8-bit integers run on the device. If not, the weights are widened to floats for each product, and the other operand is
   *  not rounded. */
  readonly integerProducts: boolean;
  /** How the engine computes a mixture of experts fastest (mixture.ts). */
  readonly mixture: Mixture;
  /** Whether values may be float16, and bits of bfloat16 be widened. */
  readonly float16: boolean;
  /** Whether values can stay on the device between runs. */
  readonly deviceTensors: boolean;
}
