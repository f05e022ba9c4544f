/** @file Embedders turn a text into a vector, for routers that compare texts:
 *
 *    base-mean-pooled   the base model's own states (the encoder's, or the last of a decoder), averaged over the tokens. It needs
 *                       no download. Which texts are similar depends on the base model.
 *    <name>             an encoder checkpoint of the BERT family, such as all-MiniLM-L6-v2, mean pooled (models/bert.ts)
 *
 *  Both give unit vectors, so their product is the cosine. */

import { access, readFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { CheckpointError } from "../base/errors.ts";
import { type HostTensor, padded } from "../base/tensor.ts";
import { openCheckpoint } from "../checkpoint/checkpoint.ts";
import type { Float, Graph } from "../graph/value.ts";
import { resolveModel } from "../hub/resolve-model.ts";
import type { Architecture } from "../models/architecture.ts";
import { bert, pooledUnit, textInputs } from "../models/bert.ts";
import { logitsOf } from "../models/logits.ts";
import { fileWeights } from "../models/weights.ts";
import { loadTokenizer } from "../text/load-tokenizer.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { GraphParts } from "./base.ts";
import type { Model } from "./model.ts";
import { type Prompts, promptsOf } from "./prompts.ts";
import { plain } from "./woven.ts";

/** Turns texts into vectors that can be compared. */
export interface Embedder {
  /** Recorded with its vectors, since vectors of different embedders are never compared. */
  readonly name: string;
  /** float32 [batch, dimension], rows of unit length. */
  embed(prompts: Prompts): Promise<HostTensor<"float32">>;
}

/** The built-in embedder's name. */
export const BASE_EMBEDDER = "base-mean-pooled";

/** Mean-pooled states of the base model alone. */
export function baseEmbedder(model: Model): Embedder {
  return {
    name: BASE_EMBEDDER,
    embed: ({ inputIds, attentionMask }) =>
      model.runner.session(
        { graph: "embed" },
        plain,
        (graph, parts) => buildBaseEmbedding(graph, model.base.architecture, parts()),
        async (session) => {
          const { embedding } = await session.run({ input_ids: inputIds, attention_mask: attentionMask });
          return embedding as HostTensor<"float32">;
        },
      ),
  };
}

function buildBaseEmbedding(graph: Graph, architecture: Architecture, parts: GraphParts): void {
  const wanted = architecture.kind === "encoder-decoder" ? "encoded" : "decoded";
  const observe = (name: string, state: Float) => {
    if (name === wanted) graph.output("embedding", pooledUnit(state, graph.int("attention_mask", "batch", "sequence")));
  };
  logitsOf(graph, architecture, { ...parts, observe });
}

/** The encoder checkpoint `name`: a folder, or a Hugging Face id. Prompts are texts of `tokenizer`, that of `model`, which keeps
 *  the encoder's session.
 *  @throws CheckpointError for an encoder that is missing or not of the BERT family. */
export async function textEmbedder(name: string, model: Model, tokenizer: Tokenizer): Promise<Embedder> {
  const directory = await resolveModel(name);
  const checkpoint = await openCheckpoint(directory);
  const encoder = bert(checkpoint.config, new Set(checkpoint.tensors.keys()));
  const own = await loadTokenizer(directory);
  const limit = Math.min(encoder.maxPositions, await maxTokens(directory));
  return {
    name: basename(resolve(name)),
    embed: async (prompts) => {
      const { ids, mask } = padded(texts(prompts, tokenizer).map((text) => cut(own.encode(text), limit)));
      return model.runner.session(
        { graph: "embed text", encoder: directory },
        plain,
        (graph) => {
          const { ids, valid } = textInputs(graph);
          graph.output("embedding", pooledUnit(encoder.encode(ids, valid, fileWeights(graph, checkpoint)), valid));
        },
        async (session) => {
          const { embedding } = await session.run({ input_ids: ids, attention_mask: mask });
          return embedding as HostTensor<"float32">;
        },
      );
    },
  };
}

/** Prompts of these texts, in the base model's tokens. */
export function textPrompts(texts: readonly string[], tokenizer: Tokenizer): Prompts {
  return promptsOf(texts.map((text) => tokenizer.encode(text)));
}

function texts({ inputIds, attentionMask }: Prompts, tokenizer: Tokenizer): string[] {
  const [batch = 0, width = 0] = inputIds.shape;
  return Array.from({ length: batch }, (_, row) => {
    const ids = Array.from({ length: width }, (_, i) => row * width + i).filter((at) => attentionMask.data[at] === 1n);
    return tokenizer.decode(
      ids.map((at) => Number(inputIds.data[at])),
      { skipSpecialTokens: true },
    );
  });
}

/** The first tokens and the closing token, truncated as in Hugging Face. */
function cut(ids: number[], limit: number): number[] {
  return ids.length <= limit ? ids : [...ids.slice(0, limit - 1), ids.at(-1)!];
}

/** The limit of sentence-transformers, if the folder has one. */
async function maxTokens(directory: string): Promise<number> {
  const file = join(directory, "sentence_bert_config.json");
  const found = await access(file).then(
    () => true,
    () => false,
  );
  if (!found) return Number.POSITIVE_INFINITY;
  const limit: unknown = JSON.parse(await readFile(file, "utf8")).max_seq_length;
  if (typeof limit === "number" && limit > 1) return limit;
  throw new CheckpointError({
    code: "checkpoint-bad-config",
    what: "max_seq_length is not a number above 1.",
    where: file,
    fix: "Download the encoder again.",
  });
}
