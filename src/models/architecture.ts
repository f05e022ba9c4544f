/** @file The interface of an architecture: a parsed configuration, and functions that build the model's parts from the three seams.
 *
 *  An architecture file knows nothing of experts, training, caching or the engine. It uses `Parts`, and one line in
 *  registry.ts registers it. */

import type { Float, Int } from "../graph/value.ts";
import type { Attention, Dropout } from "./attention.ts";
import type { Seams } from "./embedding.ts";
import type { Weights } from "./linear.ts";

/** The building blocks of an architecture. */
export interface Parts extends Seams {
  readonly weights: Weights;
  readonly attention: Attention;
  /** The model's own dropout; the identity outside training. */
  readonly dropout: Dropout;
  /** Each token's index in its row, padding included: int64 [batch or 1, sequence]. Default: the positions. */
  readonly slots?: () => Int;
  /** Called with each layer's path, "model.layers.0", and its input [batch, sequence, hidden], before the layer is built. */
  readonly enterLayer?: (layer: string, x: Float) => void;
  /** Called with intermediate states by name, for tests and pooling: "encoder.block.0". The default does nothing. */
  readonly observe?: (name: string, state: Float) => void;
}

interface Common {
  /** Number of token ids the head scores. */
  readonly vocabularySize: number;
  /** Width of the residual stream. */
  readonly hiddenSize: number;
  readonly numLayers: number;
  /** Dropout probability in the model's configuration, for training; 0 for none. */
  readonly dropoutRate: number;
}

/** A decoder-only model: one stack, causal attention. */
export interface DecoderOnly extends Common {
  readonly kind: "decoder-only";
  /** Longest sequence that the model supports; undefined when there is no limit. */
  readonly maxPositions?: number;
  /** The longest sequence with the same rotary frequencies as one of `length` tokens; absent if they do not depend on the length. Keys
   *  that were computed below this length are invalid above it. */
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

/** An encoder-decoder model. The decoder's cross-attention keys depend only on the encoder, so they are built separately. */
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
