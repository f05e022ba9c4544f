/** @file Small file work of the adapter folders: existence, hashes, float32 tensors. */

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { access } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { AdapterError } from "../base/errors.ts";
import type { HostTensor } from "../base/tensor.ts";

export async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** SHA-256 of a file's bytes, in hexadecimal. */
export async function fileHash(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}

/** Where a tensor file says which base model it was made for. */
export const BASE_FINGERPRINT = "base_fingerprint";

/** Refuses what `recorded` another base model's fingerprint than the one at hand. `what`: "The adapter was", "The gates were". */
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

/** A file's tensor as float32, whatever float it is stored as. `where` names the file. */
export function float32Of(name: string, tensor: HostTensor, where: string): HostTensor<"float32"> {
  const { dtype, shape, data } = tensor;
  if (data instanceof Float32Array) return { dtype: "float32", shape, data };
  if (data instanceof Float64Array) return { dtype: "float32", shape, data: Float32Array.from(data) };
  throw new AdapterError({
    code: "adapter-dtype",
    data: { tensor: name, dtype },
    what: `Tensor "${name}" is ${dtype}; expected a float.`,
    where,
    fix: "Save it in a float format.",
  });
}
