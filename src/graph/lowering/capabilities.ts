/** @file What an engine may be unable to do, so that a graph can be lowered to what it can.
 *
 *  A use is an operator, or one way to use it. The table of decompositions (lowered.ts) is total over these uses. They are ONNX Runtime's
 *  own operators, which a plain ONNX engine does not know, and those that some device lacks or computes wrongly. */

/** Operators of ONNX Runtime alone. */
export const FUSED = [
  "MoE",
  /** MatMul with a transposition or a factor. */
  "FusedMatMul",
  "RotaryEmbedding",
  "SimplifiedLayerNormalization",
  "QuickGelu",
  "FastGelu",
] as const;

/** Plain ONNX that some device lacks. */
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

/** Operators of ours that no engine has: each stands for several nodes that have one gradient together. */
export const COMPOSED = ["Int8MatMul"] as const;

export type Use = (typeof FUSED)[number] | (typeof PLAIN)[number] | (typeof COMPOSED)[number];

export interface Capabilities {
  /** Uses the engine cannot run, or not rightly, each with the reason. A graph is lowered until it has none of them. */
  readonly lacks: Readonly<Partial<Record<Use, string>>>;
  /** Whether values may be float16. */
  readonly float16: boolean;
  /** Whether values can stay where they were computed, between runs. */
  readonly deviceTensors: boolean;
}
