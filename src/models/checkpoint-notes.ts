/** @file Warnings about a base model before it is used: keys of config.json and tensors that are not read. */

import { fileIn } from "../base/paths.ts";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { quantizationOf } from "../checkpoint/quantized-checkpoint.ts";
import type { Architecture } from "./architecture.ts";
import { configNotes } from "./config-keys.ts";
import { factoryOf } from "./registry.ts";
import { type Reads, unreadTensorNotes } from "./unread-tensors.ts";

/** The warnings. Throws a CheckpointError if a key or tensor needs a computation that the architecture does not have. */
export async function checkpointNotes(checkpoint: Checkpoint, architecture: Architecture, reads: Reads): Promise<string[]> {
  const { config, tensors, directory, packed } = checkpoint;
  const quantized = packed ? undefined : quantizationOf(config, tensors)?.kind;
  return [
    ...configNotes(config, factoryOf(checkpoint).keys, fileIn(directory, "config.json")),
    ...(quantized ? [`config.json says that the weights are quantized with ${quantized}; they are not, and are used as they are.`] : []),
    ...(await unreadTensorNotes(checkpoint, architecture, reads)),
  ];
}
