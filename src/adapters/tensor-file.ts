/** @file Code that all tensor files of adapters share: how to read numbers, and the check of their base model. */

import { AdapterError } from "../base/errors.ts";
import type { HostTensor } from "../base/tensor.ts";
import type { TensorInfo } from "../checkpoint/safetensors-header.ts";

/** Reads the numbers of a tensor, from disk or memory. */
export type ReadTensor = (info: TensorInfo) => Promise<HostTensor>;

/** The metadata key for the fingerprint of the base model. */
export const BASE_FINGERPRINT = "base_fingerprint";

/** Refuses a file whose `recorded` fingerprint differs from that of the base model. `what`: "The adapter was", "The gates were". */
export function checkFingerprint(what: string, where: string, recorded: string | undefined, expected: string | undefined): void {
  if (recorded === undefined || expected === undefined || recorded === expected) return;
  throw new AdapterError({
    code: "adapter-other-base",
    data: { expected, got: recorded },
    what: `${what} trained on another base model: fingerprint ${recorded}, this base has ${expected}.`,
    where,
    fix: "Load that base model, or train again on this one.",
  });
}

/** A file's float tensor as float32. `where` names the file. */
export function float32Of(name: string, tensor: HostTensor, where: string): HostTensor<"float32"> {
  const { dtype, shape } = tensor;
  if (isFloat32(tensor)) return tensor; // the same value, since its numbers may still be on disk
  if (tensor.data instanceof Float64Array) return { dtype: "float32", shape, data: Float32Array.from(tensor.data) };
  throw new AdapterError({
    code: "adapter-dtype",
    data: { tensor: name, dtype },
    what: `Tensor "${name}" is ${dtype}; expected a float.`,
    where,
    fix: "Save it in a float format.",
  });
}

function isFloat32(tensor: HostTensor): tensor is HostTensor<"float32"> {
  return tensor.dtype === "float32";
}
