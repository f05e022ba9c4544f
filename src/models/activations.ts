/** @file The activation functions of feed-forward layers, by the names Hugging Face's configurations use. */

import { CheckpointError } from "../base/errors.ts";
import { gelu, geluTanh, quickGelu, relu, silu } from "../graph/ops/elementwise.ts";
import type { Float } from "../graph/value.ts";

export type Activation = (x: Float) => Float;

const ACTIVATIONS: Readonly<Record<string, Activation>> = {
  silu,
  swish: silu,
  gelu,
  gelu_new: geluTanh,
  gelu_pytorch_tanh: geluTanh,
  gelu_fast: geluTanh,
  quick_gelu: quickGelu,
  relu,
};

/** The activation called `name`; an unknown one is an error that lists the known ones. */
export function activationOf(name: string): Activation {
  if (Object.hasOwn(ACTIVATIONS, name)) return ACTIVATIONS[name]!;
  throw new CheckpointError({
    code: "checkpoint-setting",
    data: { got: name, known: Object.keys(ACTIVATIONS) },
    what: `The activation function "${name}" is not supported.`,
    where: "config.json",
    fix: `Supported: ${Object.keys(ACTIVATIONS).join(", ")}.`,
  });
}
