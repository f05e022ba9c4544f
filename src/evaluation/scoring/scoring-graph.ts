/** @file The graphs that score texts. Their only results are log-probabilities of given tokens.
 *
 *      rows with the same context compute it once: T5's encoder, or a decoder's prefix, runs per context, and each row
 *      takes its keys and values by index
 *
 *      feeds   context_ids, context_mask [contexts, context]    an encoder's input, or the shared prefix (may be absent)
 *              rows [batch]                                      the context of each row
 *              row_ids, row_positions, row_mask [batch, sequence]
 *              places, labels [batch, targets]                   batch index * sequence + the label's index, and the label
 *      With `perRow`, where rows choose their own experts, there is one context for each row, in order.
 *
 *      fetches loglikelihoods [batch, targets]                   log softmax(logits)[label]
 *              best [batch, targets]                             the most likely token there */

import { concat, expand, flattenRows, gather, gatherElements, reshape, unsqueeze } from "../../graph/ops/movement.ts";
import { logSoftmax, topK } from "../../graph/ops/reduce.ts";
import type { Float, Graph, Int } from "../../graph/value.ts";
import type { Architecture, DecoderOnly, EncoderDecoder, KeysAndValues, Parts } from "../../models/architecture.ts";
import { type Attention, fullAttention, noDropout, type Places } from "../../models/attention.ts";
import type { Seams } from "../../models/embedding.ts";
import type { Weights } from "../../models/linear.ts";
import { slots } from "../../models/logits.ts";

interface Base extends Seams {
  readonly weights: Weights;
}

export interface ScoringForm {
  /** Rows of a decoder-only model start from a shared prefix. */
  readonly shared: boolean;
  readonly perRow: boolean;
}

export function buildScoring(graph: Graph, architecture: Architecture, base: Base, { shared, perRow }: ScoringForm): void {
  const hidden =
    architecture.kind === "encoder-decoder"
      ? encoderDecoderHidden(graph, architecture, base, perRow ? "batch" : "contexts")
      : decoderOnlyHidden(graph, architecture, base, shared);
  const places = graph.int("places", "batch", "targets");
  const parts: Parts = { ...base, dropout: noDropout, attention: fullAttention(slots(graph, "targets")) };
  const logits = architecture.head(gather(flattenRows(hidden), places), parts);
  const labels = graph.int("labels", "batch", "targets");
  graph.output("loglikelihoods", reshape(gatherElements(logSoftmax(logits), unsqueeze(labels, -1)), "batch", "targets"));
  graph.output("best", reshape(topK(logits, 1).indices, "batch", "targets"));
}

function encoderDecoderHidden(graph: Graph, architecture: EncoderDecoder, base: Base, contexts: string): Float {
  const mask = graph.int("context_mask", contexts, "context");
  const encoder = slots(graph, "context", mask);
  const parts: Parts = { ...base, dropout: noDropout, attention: fullAttention(encoder) };
  const encoded = architecture.encode(graph.int("context_ids", contexts, "context"), parts);
  const rows = graph.int("rows", "batch");
  const cross = architecture.crossKeysAndValues(encoded, parts).map((entry) => ofRows(entry, rows));
  const ids = graph.int("row_ids", "batch", "sequence");
  const attention = fullAttention(slots(graph, "sequence"), { encoder: { ...encoder, valid: gather(mask, rows) } });
  return architecture.decode(ids, cross, { ...parts, attention });
}

function decoderOnlyHidden(graph: Graph, architecture: DecoderOnly, base: Base, shared: boolean): Float {
  const positions = graph.int("row_positions", "batch", "sequence");
  const self: Places = { positions, valid: graph.int("row_mask", "batch", "sequence") };
  const ids = graph.int("row_ids", "batch", "sequence");
  const decode = (tokens: Int, { positions: at }: Places, attention: Attention) =>
    architecture.decode(tokens, at, { ...base, dropout: noDropout, attention, slots: () => at });
  if (!shared) return decode(ids, self, fullAttention(self));
  const prefix = slots(graph, "context", graph.int("context_mask", "contexts", "context"));
  const seen = new Map<string, KeysAndValues>();
  decode(graph.int("context_ids", "contexts", "context"), prefix, remembering(fullAttention(prefix), seen));
  return decode(ids, self, continuing(seen, prefix, self, graph.int("rows", "batch")));
}

/** `inner`, which also records each attention's keys and values by its path. */
function remembering(inner: Attention, seen: Map<string, KeysAndValues>): Attention {
  return (q, k, v, spec) => {
    seen.set(spec.path, { keys: k, values: v });
    return inner(q, k, v, spec);
  };
}

/** Attention of rows over the keys of their context and their own. */
function continuing(seen: ReadonlyMap<string, KeysAndValues>, prefix: Places, self: Places, rows: Int): Attention {
  const side = (left: Int, right: Int) => concat([left, right], 1, "keys");
  const positions = gather(expand(prefix.positions, ...prefix.valid!.shape), rows);
  const all: Places = { positions: side(positions, self.positions), valid: side(gather(prefix.valid!, rows), self.valid!) };
  return (q, k, v, spec) => {
    const { keys, values } = ofRows(seen.get(spec.path)!, rows);
    const attend = fullAttention(self, { encoder: all });
    return attend(q, concat([keys, k], 2, "keys"), concat([values, v], 2, "keys"), { ...spec, cross: true });
  };
}

/** Keys and values [contexts, ...] of each row's context: [batch, ...]. */
function ofRows({ keys, values }: KeysAndValues, rows: Int): KeysAndValues {
  return { keys: gather(keys, rows), values: gather(values, rows) };
}
