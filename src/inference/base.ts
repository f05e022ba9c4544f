/** @file A base model as it is loaded: once, and shared by everything that computes with it. A base holds no session and no
 *  expert. It reads no weights itself: graphs point into the checkpoint's files. */

import type { ModuleSizes } from "../adapters/modules.ts";
import { type Checkpoint, openCheckpoint } from "../checkpoint/checkpoint.ts";
import { fingerprint } from "../checkpoint/fingerprint.ts";
import type { Graph } from "../graph/value.ts";
import { resolveModel } from "../hub/resolve-model.ts";
import type { Architecture } from "../models/architecture.ts";
import { baseSeams, type Seams } from "../models/embedding.ts";
import type { Weights } from "../models/linear.ts";
import { tracedModules } from "../models/logits.ts";
import { architectureOf } from "../models/registry.ts";
import { fileWeights } from "../models/weights.ts";
import { loadTokenizer } from "../text/load-tokenizer.ts";
import type { Tokenizer } from "../text/tokenizer.ts";

/** How the base's numbers take part in a product. */
export type Precision = "float32";

/** What an architecture needs to build its equations in a graph. */
export interface GraphParts extends Seams {
  readonly weights: Weights;
}

export interface Base {
  readonly checkpoint: Checkpoint;
  readonly architecture: Architecture;
  /** Every projection and every table of embeddings: module path -> sizes. */
  readonly modules: ModuleSizes;
  readonly precision: Precision;
  /** The tokenizer of the checkpoint, read at the first call. */
  tokenizer(): Promise<Tokenizer>;
  /** Identifies the numbers of the checkpoint, computed at the first call. */
  fingerprint(): Promise<string>;
  /** The base's weights, projections and embeddings for a graph. Nothing else reads the weights of a base. */
  seams(graph: Graph): GraphParts;
}

/** Opens the base model in a folder, in the Hugging Face cache, or on the Hub. */
export async function openBase(name: string): Promise<Base> {
  return baseOf(await openCheckpoint(await resolveModel(name)));
}

/** The base model in a checkpoint. */
export function baseOf(checkpoint: Checkpoint): Base {
  const architecture = architectureOf(checkpoint);
  return {
    checkpoint,
    architecture,
    modules: modulesOf(checkpoint, architecture),
    precision: "float32",
    tokenizer: once(() => loadTokenizer(checkpoint.directory)),
    fingerprint: once(() => fingerprint(checkpoint)),
    seams: (graph) => {
      const weights = fileWeights(graph, checkpoint);
      return { weights, ...baseSeams(weights) };
    },
  };
}

/** The modules of the architecture, with the weights that the checkpoint has for them. */
function modulesOf({ tensors }: Checkpoint, architecture: Architecture): ModuleSizes {
  const traced = [...tracedModules(architecture)];
  return new Map(
    traced.map(([module, { tensor = `${module}.weight`, ...size }]) => {
      const weight = tensors.get(tensor);
      return [module, { ...size, ...(weight && { weight }) }];
    }),
  );
}

/** `compute` at the first call, its result at all; after a failure the next call tries again. */
function once<T>(compute: () => Promise<T>): () => Promise<T> {
  let result: Promise<T> | undefined;
  return () => {
    result ??= compute().catch((error: unknown) => {
      result = undefined;
      throw error;
    });
    return result;
  };
}
