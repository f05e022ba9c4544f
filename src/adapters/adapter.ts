/** @file Adapters in memory: tensors for each module of the base model.
 *
 *    LoRA        (Hu et al. 2021, arXiv:2106.09685)   y = W x + scaling (B A x + bias)
 *    (IA)3       (Liu et al. 2022, arXiv:2205.05638)  y = scale * (W x), or W (scale * x) on feed-forward modules
 *    bottleneck  (Houlsby et al. 2019, arXiv:1902.00751)  y = h + up(activation(down(h))), h = W x
 *                (He et al. 2022, arXiv:2110.04366)       y = W x + up(activation(down(x))), the parallel form */

import type { HostTensor } from "../base/tensor.ts";
import type { Ia3Config, LoraConfig } from "./peft-config.ts";

/** One module's LoRA: y = W x + scaling (B A x + bias). */
export interface LoraWeights {
  readonly rank: number;
  /** alpha / rank, or alpha / sqrt(rank) for rank-stabilized LoRA. */
  readonly scaling: number;
  /** [rank, in] */
  readonly a: HostTensor<"float32">;
  /** [out, rank] */
  readonly b: HostTensor<"float32">;
  /** [out], added to B A x before the scaling (PEFT's lora_bias). */
  readonly bias?: HostTensor<"float32">;
  /** Whether it adapts a table of embeddings: x is then the one-hot vector [in] of a token id. */
  readonly embedding?: true;
}

/** One module's (IA)3: a factor for each number of its input or output. */
export interface Ia3Weights {
  /** [in] when `feedforward`, else [out]. */
  readonly scale: HostTensor<"float32">;
  /** True: the scale multiplies the module's input; false: its output. */
  readonly feedforward: boolean;
}

/** Token ids with which an adapter learned to end a turn of a chat. */
export type TurnEnds = readonly number[];

/** A LoRA adapter as it is read from PEFT's files, or made in memory. */
export interface LoraAdapter {
  readonly kind: "lora";
  /** Keyed by the base model's module paths. */
  readonly modules: ReadonlyMap<string, LoraWeights>;
  /** The configuration from its file; absent for an adapter made in memory. */
  readonly config?: LoraConfig;
  readonly turnEnds?: TurnEnds;
  readonly warnings: readonly string[];
}

/** An (IA)3 adapter as it is read from PEFT's files, or made in memory. */
export interface Ia3Adapter {
  readonly kind: "ia3";
  readonly modules: ReadonlyMap<string, Ia3Weights>;
  readonly config?: Ia3Config;
  readonly turnEnds?: TurnEnds;
  readonly warnings: readonly string[];
}

export const BOTTLENECK_ACTIVATIONS = ["relu", "gelu_new", "silu"] as const;
/** What a bottleneck computes between its two projections. */
export type BottleneckActivation = (typeof BOTTLENECK_ACTIVATIONS)[number];
/** "parallel": reads the module's input, width in; "output": reads the module's output, width out. */
export const BOTTLENECK_PLACEMENTS = ["parallel", "output"] as const;
/** "parallel": a bottleneck reads its module's input; "output": it reads the module's output. */
export type BottleneckPlacement = (typeof BOTTLENECK_PLACEMENTS)[number];

/** One module's bottleneck: up(activation(down(.))) added to the module's output. */
export interface BottleneckWeights {
  readonly activation: BottleneckActivation;
  readonly placement: BottleneckPlacement;
  /** [size, width] */
  readonly down: HostTensor<"float32">;
  /** [size] */
  readonly downBias: HostTensor<"float32">;
  /** [out, size] */
  readonly up: HostTensor<"float32">;
  /** [out] */
  readonly upBias: HostTensor<"float32">;
}

/** A bottleneck adapter, in files of Skein's own (PEFT has none). */
export interface BottleneckAdapter {
  readonly kind: "bottleneck";
  readonly modules: ReadonlyMap<string, BottleneckWeights>;
  /** Name or path of the base model it was trained on. */
  readonly baseName?: string;
  readonly turnEnds?: TurnEnds;
  readonly warnings: readonly string[];
}

/** Weights per module of a base model, of one of three kinds. */
export type Adapter = LoraAdapter | Ia3Adapter | BottleneckAdapter;
