/** @file The whole forward pass of any architecture, from token ids to logits, and the modules and tensors that tracing it finds. */

import { createGraph } from "../graph/graph.ts";
import { addInt, cast, whereInt } from "../graph/ops/elementwise.ts";
import { range, unsqueeze } from "../graph/ops/movement.ts";
import { cumulativeSum } from "../graph/ops/reduce.ts";
import type { Float, Graph, Int } from "../graph/value.ts";
import type { Architecture, DecoderOnly, EncoderDecoder, Parts } from "./architecture.ts";
import { type Dropout, fullAttention, noDropout, type Places } from "./attention.ts";
import { baseSeams, type Seams } from "./embedding.ts";
import type { Projection, Weights } from "./linear.ts";
import { inputWeights } from "./weights.ts";

export interface LogitsOptions extends Seams {
  readonly weights: Weights;
  readonly dropout?: Dropout;
  readonly enterLayer?: Parts["enterLayer"];
  readonly observe?: (name: string, state: Float) => void;
  /** Rows hold several documents: feed `document_ids` and `position_ids` [batch, sequence]. */
  readonly packed?: boolean;
  /** The name of the number of rows. Default "batch". */
  readonly batch?: string;
}

/** Feeds `input_ids`, `attention_mask` [batch, sequence] and, with an encoder, `decoder_input_ids` [batch, targets].
 *  -> logits [batch, sequence or targets, vocabulary] */
export function logitsOf(graph: Graph, architecture: Architecture, options: LogitsOptions): Float {
  return architecture.kind === "encoder-decoder"
    ? encoderDecoderLogits(graph, architecture, options)
    : decoderOnlyLogits(graph, architecture, options);
}

function encoderDecoderLogits(
  graph: Graph,
  architecture: EncoderDecoder,
  { dropout = noDropout, batch = "batch", ...rest }: LogitsOptions,
): Float {
  const ids = graph.int("input_ids", batch, "sequence");
  const encoder = slots(graph, "sequence", graph.int("attention_mask", batch, "sequence"));
  const encoded = architecture.encode(ids, { ...rest, dropout, attention: fullAttention(encoder, { dropout }) });
  rest.observe?.("encoded", encoded);
  const targets = graph.int("decoder_input_ids", batch, "targets");
  const parts: Parts = { ...rest, dropout, attention: fullAttention(slots(graph, "targets"), { encoder, dropout }) };
  const decoded = architecture.decode(targets, architecture.crossKeysAndValues(encoded, parts), parts);
  rest.observe?.("decoded", decoded);
  return architecture.head(decoded, parts);
}

function decoderOnlyLogits(
  graph: Graph,
  architecture: DecoderOnly,
  { dropout = noDropout, packed = false, batch = "batch", ...rest }: LogitsOptions,
): Float {
  const ids = graph.int("input_ids", batch, "sequence");
  const mask = graph.int("attention_mask", batch, "sequence");
  const positions = packed ? graph.int("position_ids", batch, "sequence") : positionsOf(mask);
  const documents = packed ? { documents: graph.int("document_ids", batch, "sequence") } : {};
  // The causal mask uses slots instead of positions. For real tokens this is the same; for padding it matches the reference.
  const standing = slots(graph, "sequence", mask);
  const attention = fullAttention({ ...standing, ...documents }, { dropout });
  const parts: Parts = { ...rest, ...(packed ? {} : { slots: () => standing.positions }), dropout, attention };
  const decoded = architecture.decode(ids, positions, parts);
  rest.observe?.("decoded", decoded);
  return architecture.head(decoded, parts);
}

/** Positions equal slots: 0, 1, ..., padding included. [1, size] */
export function slots(graph: Graph, size: string, valid?: Int): Places {
  return { positions: unsqueeze(range(graph, size), 0), ...(valid ? { valid } : {}) };
}

/** Positions count the real tokens, so padding on the left changes nothing. Padding itself has position 1, as in transformers'
 *  `generate`; this matters where padding is read (SMEAR). mask, result: int64 [batch, sequence] */
export function positionsOf(mask: Int): Int {
  return whereInt(cast(mask, "bool"), addInt(cumulativeSum(mask, 1), -1), 1);
}

/** A projection or a table of embeddings, as an adapter sees it: y [out] = W x [in]. */
export interface TracedModule extends Projection {
  /** The input is a token id, which stands for a one-hot vector [in]. */
  readonly embedding?: true;
  /** The checkpoint has this module, but the model never calls it. */
  readonly idle?: true;
}

/** Every module of the model that an adapter can name, found by building it once: module path -> sizes. */
export function tracedModules(architecture: Architecture): Map<string, TracedModule> {
  const modules = new Map<string, TracedModule>();
  const graph = createGraph("trace");
  const { weights, linear, embedding } = outline(graph);
  logitsOf(graph, architecture, {
    weights,
    linear: (x, module, projection) => {
      modules.set(module, projection);
      return linear(x, module, projection);
    },
    embedding: (ids, module, { rows, width, tensor }) => {
      modules.set(module, { in: rows, out: width, embedding: true, ...(tensor && { tensor }) });
      return embedding(ids, module, { rows, width });
    },
  });
  for (const [, { tensor, ...table }] of [...modules]) {
    const owner = tensor?.replace(/\.weight$/, "");
    if (owner && table.embedding && !modules.has(owner)) modules.set(owner, { ...table, idle: true });
  }
  return modules;
}

/** Parts that compute nothing: each call returns a new graph input of the right shape. For graphs that are only inspected. */
export function outline(graph: Graph): Seams & { readonly weights: Weights } {
  return {
    weights: inputWeights(graph, () => {}),
    linear: (x, module, { out }) => graph.float(`y.${module}`, ...x.shape.slice(0, -1), out),
    embedding: (ids, module, { width }) => graph.float(`y.${module}.${ids.shape.join()}`, ...ids.shape, width),
  };
}

/** Every tensor the model reads, found the same way: name -> shape. */
export function tracedTensors(architecture: Architecture): Map<string, readonly number[]> {
  const tensors = new Map<string, readonly number[]>();
  const graph = createGraph("trace");
  const weights = inputWeights(graph, (tensor, value) => tensors.set(tensor, value.shape as readonly number[]));
  logitsOf(graph, architecture, { weights, ...baseSeams(weights) });
  return tensors;
}
