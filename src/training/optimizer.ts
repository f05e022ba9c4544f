/** @file What holds the parameters and their moments during training, and takes the steps of AdamW: on the host here, on a device in
 *  device-optimizer.ts. */

import { float32, type HostTensor } from "../base/tensor.ts";
import type { Tensor } from "../runtime/engine.ts";
import { type AdamWOptions, type AdamWState, accumulate, adamwStep, globalNorm, scale } from "./adamw.ts";
import type { Parameters } from "./learner.ts";

/** One parameter with its two moments, on the host; all have its shape. */
export interface ParameterState {
  readonly value: HostTensor<"float32">;
  readonly m: HostTensor<"float32">;
  readonly v: HostTensor<"float32">;
}
export type OptimizerState = ReadonlyMap<string, ParameterState>;

/** The settings of one step. */
export interface Update {
  /** Counts from 1. */
  readonly step: number;
  readonly lr: number;
  /** Largest global norm of the gradients. */
  readonly clip: number;
  readonly adamw: AdamWOptions;
}

export interface Optimizer {
  /** What a pass is fed. */
  readonly parameters: ReadonlyMap<string, Tensor>;
  /** Adds `share` times the gradients of a micro-batch to those of the step, and disposes of them. */
  add(gradients: ReadonlyMap<string, Tensor>, share: number): void | Promise<void>;
  /** Takes a step with the gradients that were added. Returns their global norm before clipping. If it is not finite, nothing changes. */
  step(update: Update): number | Promise<number>;
  /** The state on the host; it may be the optimizer's own memory. */
  read(): OptimizerState | Promise<OptimizerState>;
  load(state: OptimizerState): void | Promise<void>;
  dispose(): void;
}

/** The authors clip like torch, with 1e-6 added to the norm. */
export const CLIP_EPSILON = 1e-6;

export class HostOptimizer implements Optimizer {
  readonly parameters: Parameters;
  readonly #state: ReadonlyMap<string, AdamWState>;
  #sums = new Map<string, Float32Array>();

  constructor(initial: Parameters) {
    this.#state = new Map(
      [...initial].map(([name, { data }]) => [
        name,
        { value: data.slice(), m: new Float32Array(data.length), v: new Float32Array(data.length) },
      ]),
    );
    this.parameters = new Map([...initial].map(([name, { shape }]) => [name, float32(shape, this.#state.get(name)!.value)]));
  }

  add(gradients: ReadonlyMap<string, Tensor>, share: number): void {
    for (const [name, tensor] of gradients) {
      const gradient = (tensor as HostTensor<"float32">).data;
      if (share === 1) {
        this.#sums.set(name, gradient);
        continue;
      }
      const sum = this.#sums.get(name) ?? new Float32Array(gradient.length);
      accumulate(sum, gradient, share);
      this.#sums.set(name, sum);
    }
  }

  step({ step, lr, clip, adamw }: Update): number {
    const sums = this.#sums;
    this.#sums = new Map();
    const norm = globalNorm(sums.values());
    if (!Number.isFinite(norm)) return norm;
    const factor = Math.min(1, clip / (norm + CLIP_EPSILON));
    for (const [name, gradient] of sums) {
      if (factor < 1) scale(gradient, factor);
      adamwStep(this.#state.get(name)!, gradient, lr, step, adamw);
    }
    return norm;
  }

  read(): OptimizerState {
    return new Map(
      [...this.parameters].map(([name, value]) => {
        const { m, v } = this.#state.get(name)!;
        return [name, { value, m: float32(value.shape, m), v: float32(value.shape, v) }];
      }),
    );
  }
  load(state: OptimizerState): void {
    for (const [name, { value, m, v }] of this.#state) {
      const saved = state.get(name)!;
      value.set(saved.value.data);
      m.set(saved.m.data);
      v.set(saved.v.data);
    }
  }
  dispose(): void {}
}
