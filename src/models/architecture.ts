/** @file What an architecture is: a parsed configuration and functions that build its parts from the three seams.
 *
 *  An architecture file holds no knowledge of experts, training, caching or the engine. It is written against `Parts`
 *  and registered by one line in registry.ts. */

import type { Float, Int } from "../graph/value.ts";
import type { Attention, Dropout } from "./attention.ts";
import type { Seams } from "./embedding.ts";
import type { Weights } from "./linear.ts";

/** What an architecture builds from. */
export interface Parts extends Seams {
  readonly weights: Weights;
  readonly attention: Attention;
  /** The model's own dropout; the identity outside training. */
  readonly dropout: Dropout;
  /** Where each token stands in its row, padding counted: int64 [batch or 1, sequence]. Positions, when absent. */
  readonly slots?: () => Int;
  /** Called with each layer's path, "model.layers.0", and its input [batch, sequence, hidden], before the layer is built. */
  readonly enterLayer?: (layer: string, x: Float) => void;
  /** Called with intermediate states by name, for tests and pooling: "encoder.block.0". Their default does nothing. */
  readonly observe?: (name: string, state: Float) => void;
}

interface Common {
  /** Number of token ids the head scores. */
  readonly vocabularySize: number;
  /** Width of the residual stream. */
  readonly hiddenSize: number;
  readonly numLayers: number;
  /** Probability the model's own configuration gives for dropout in training; 0 for none. */
  readonly dropoutRate: number;
}

/** A decoder-only model: one stack, causal attention. */
export interface DecoderOnly extends Common {
  readonly kind: "decoder-only";
  /** Longest position the model knows; undefined when there is no limit. */
  readonly maxPositions?: number;
  /** The longest sequence whose tokens are placed as in one of `length` tokens; absent when all are. Keys computed in a
   *  sequence no longer than one such length are of no use beyond it. */
  readonly steadyUntil?: ((length: number) => number) | undefined;
  /** ids, positions: int64 [batch, sequence] -> hidden states after the final norm, [batch, sequence, hidden]. */
  decode(ids: Int, positions: Int, parts: Parts): Float;
  /** hidden: [batch, sequence, hidden] -> logits [batch, sequence, vocabulary]. */
  head(hidden: Float, parts: Parts): Float;
}

/** Keys and values of one cross-attention: [batch, heads, keys, size]. */
export interface KeysAndValues {
  readonly keys: Float;
  readonly values: Float;
}

/** An encoder-decoder model. The decoder's cross-attention keys depend on the encoder alone, so they are built apart. */
export interface EncoderDecoder extends Common {
  readonly kind: "encoder-decoder";
  readonly decoderStartId: number;
  readonly numDecoderLayers: number;
  /** ids: int64 [batch, sequence] -> [batch, sequence, hidden]. */
  encode(ids: Int, parts: Parts): Float;
  /** encoded: [batch, sequence, hidden] -> keys and values of each decoder layer. */
  crossKeysAndValues(encoded: Float, parts: Parts): KeysAndValues[];
  /** ids: int64 [batch, targets] -> hidden states after the final norm, [batch, targets, hidden]. */
  decode(ids: Int, cross: readonly KeysAndValues[], parts: Parts): Float;
  head(hidden: Float, parts: Parts): Float;
}

export type Architecture = DecoderOnly | EncoderDecoder;
