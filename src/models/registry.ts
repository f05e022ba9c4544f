/** @file The supported architectures, by the `model_type` of config.json. */

import { CheckpointError, relocated } from "../base/errors.ts";
import { fileIn } from "../base/paths.ts";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import type { Architecture } from "./architecture.ts";
import type { ArchitectureFactory } from "./config-keys.ts";
import { gemma } from "./gemma.ts";
import { gemma2 } from "./gemma2.ts";
import { gemma3 } from "./gemma3.ts";
import { gpt2 } from "./gpt2.ts";
import { llama } from "./llama.ts";
import { mistral } from "./mistral.ts";
import { phi3 } from "./phi3.ts";
import { qwen } from "./qwen.ts";
import { qwen2 } from "./qwen2.ts";
import { qwen3 } from "./qwen3.ts";
import { t5 } from "./t5.ts";

const ARCHITECTURES: Readonly<Record<string, ArchitectureFactory>> = {
  t5,
  mt5: t5,
  llama,
  mistral,
  qwen2,
  qwen3,
  gemma,
  gemma2,
  gemma3,
  gemma3_text: gemma3,
  gpt2,
  phi3,
  qwen,
};

/** The supported model types, sorted. */
export const MODEL_TYPES: readonly string[] = Object.keys(ARCHITECTURES).sort();

/** The part of a checkpoint that determines its architecture; of the tensors, only the names. */
type Named = Pick<Checkpoint, "config" | "directory"> & { readonly tensors: ReadonlyMap<string, unknown> };

/** The architecture of a checkpoint; an unknown model_type is an error that lists the known ones. */
export function architectureOf(checkpoint: Named): Architecture {
  const { config, tensors, directory } = checkpoint;
  const factory = factoryOf(checkpoint);
  try {
    return factory(config, new Set(tensors.keys()));
  } catch (error) {
    if (!(error instanceof CheckpointError) || error.where === undefined) throw error;
    throw relocated(error, fileIn(directory, error.where));
  }
}

/** The builder of a checkpoint's architecture, with the keys that it handles. */
export function factoryOf({ config, directory }: Pick<Named, "config" | "directory">): ArchitectureFactory {
  const type = String(config.model_type);
  const factory = Object.hasOwn(ARCHITECTURES, type) ? ARCHITECTURES[type] : undefined;
  if (!factory) {
    throw new CheckpointError({
      code: "checkpoint-model-type",
      data: { modelType: type, known: MODEL_TYPES },
      what: `Models of type "${type}" are not supported.`,
      where: directory,
      fix: `Supported model types: ${MODEL_TYPES.join(", ")}. CONTRIBUTING.md says how to add one.`,
    });
  }
  return factory;
}
