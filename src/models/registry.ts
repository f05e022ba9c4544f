/** @file The architectures Skein knows, by the `model_type` of config.json. */

import { CheckpointError } from "../base/errors.ts";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import type { Architecture, ArchitectureFactory } from "./architecture.ts";
import { t5 } from "./t5.ts";

const ARCHITECTURES: Readonly<Record<string, ArchitectureFactory>> = {
  t5,
  mt5: t5,
};

/** The architecture of a checkpoint; an unknown model_type is an error that lists the known ones. */
export function architectureOf({ config, tensors, directory }: Checkpoint): Architecture {
  const type = String(config.model_type);
  const factory = ARCHITECTURES[type];
  if (!factory) {
    throw new CheckpointError({
      what: `Models of type "${type}" are not supported.`,
      where: directory,
      fix: `Supported model types: ${Object.keys(ARCHITECTURES).sort().join(", ")}. CONTRIBUTING.md says how to add one.`,
    });
  }
  return factory(config, new Set(tensors.keys()));
}
