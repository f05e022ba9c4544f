/** @file What a person should know of a base model before it computes: keys of config.json and tensors that are not read. */

import { fileIn } from "../base/paths.ts";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { quantizationOf } from "../checkpoint/quantized-checkpoint.ts";
import type { Architecture } from "./architecture.ts";
import { configNotes } from "./config-keys.ts";
import { factoryOf } from "./registry.ts";
import { type Reads, unreadTensorNotes } from "./unread-tensors.ts";

/** Warnings. Throws a CheckpointError where a key or a tensor asks for what the architecture does not compute. */
export async function checkpointNotes(checkpoint: Checkpoint, architecture: Architecture, reads: Reads): Promise<string[]> {
  const { config, tensors, directory } = checkpoint;
  const quantized = quantizationOf(config, tensors)?.kind;
  return [
    ...configNotes(config, factoryOf(checkpoint).keys, fileIn(directory, "config.json")),
    ...(quantized ? [`config.json says that the weights are quantized with ${quantized}; they are not, and are used as they are.`] : []),
    ...(await unreadTensorNotes(checkpoint, architecture, reads)),
  ];
}
