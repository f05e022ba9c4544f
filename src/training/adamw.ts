/** @file AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101), and clipping by global norm (Pascanu et al. 2013).
 *
 *      m = b1 m + (1 - b1) g            v = b2 v + (1 - b2) g^2
 *      p = p - lr (wd p + (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps))
 *
 *  This is the host's; device-optimizer.ts has the same equations as a graph. */

export interface AdamWOptions {
  readonly beta1?: number;
  readonly beta2?: number;
  readonly epsilon?: number;
  readonly weightDecay?: number;
}

/** The options, with the defaults of those that are absent. */
export function withDefaults({ beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = 0 }: AdamWOptions): Required<AdamWOptions> {
  return { beta1, beta2, epsilon, weightDecay };
}

/** One parameter's numbers and its two moments; all arrays have its size. */
export interface AdamWState {
  readonly value: Float32Array;
  readonly m: Float32Array;
  readonly v: Float32Array;
}

/** One step for one parameter, in place. `step` counts from 1. */
export function adamwStep(state: AdamWState, gradient: Float32Array, lr: number, step: number, options: AdamWOptions = {}): void {
  const { beta1, beta2, epsilon, weightDecay } = withDefaults(options);
  const { value, m, v } = state;
  const correction1 = 1 - beta1 ** step;
  const correction2 = Math.sqrt(1 - beta2 ** step);
  const stepSize = lr / correction1;
  const decay = 1 - lr * weightDecay;
  for (let i = 0; i < value.length; i++) {
    const g = gradient[i]!;
    const mi = beta1 * m[i]! + (1 - beta1) * g;
    const vi = beta2 * v[i]! + (1 - beta2) * g * g;
    m[i] = mi;
    v[i] = vi;
    value[i] = value[i]! * decay - (stepSize * mi) / (Math.sqrt(vi) / correction2 + epsilon);
  }
}

/** Square root of the sum of squares over all gradients. */
export function globalNorm(gradients: Iterable<Float32Array>): number {
  let sum = 0;
  for (const gradient of gradients) for (let i = 0; i < gradient.length; i++) sum += gradient[i]! * gradient[i]!;
  return Math.sqrt(sum);
}

/** target += factor * source */
export function accumulate(target: Float32Array, source: Float32Array, factor: number): void {
  for (let i = 0; i < target.length; i++) target[i] = target[i]! + factor * source[i]!;
}

/** array *= factor */
export function scale(array: Float32Array, factor: number): void {
  for (let i = 0; i < array.length; i++) array[i] = array[i]! * factor;
}
