/** @file The second seam: every attention of every architecture is one call of an `Attention`.
 *
 *      softmax(scale q kᵀ + bias + mask) v
 *
 *  `fullAttention` sees all keys at once: in training, scoring and encoders. `cachedAttention` also sees the keys of earlier
 *  calls. They are feeds, in a buffer of fixed capacity, and the caller writes the new keys into that buffer.
 *  Positions and validity are values, so padding on either side, sliding windows and packed documents are all masks. */

import { invariant } from "../base/errors.ts";
import { add, and, cast, div, equal, less, lessOrEqual, mul, subInt, tanh, where } from "../graph/ops/elementwise.ts";
import { matmul } from "../graph/ops/linalg.ts";
import { concat, expand, reshape, shaped, sizeOf, slice, transpose, unsqueeze } from "../graph/ops/movement.ts";
import { softmax } from "../graph/ops/reduce.ts";
import { flattened, type Size } from "../graph/sizes.ts";
import type { Bool, Float, Int } from "../graph/value.ts";

/** Keys or queries of one attention: each token's position, and whether it is real. */
export interface Places {
  /** int64 [batch or 1, sequence]: the token's position. */
  readonly positions: Int;
  /** int64 [batch, sequence]: 1 for a real token, 0 for padding; absent when all are real. */
  readonly valid?: Int;
  /** int64 [batch, sequence]: the document a token belongs to, when several are packed into a row. */
  readonly documents?: Int;
}

export interface AttentionSpec {
  /** The attention's module path, "model.layers.0.self_attn"; names its cache. */
  readonly path: string;
  /** Factor on q kᵀ; 1 for T5. */
  readonly scale: number;
  /** A query sees only keys at its own position or before. */
  readonly causal: boolean;
  /** A query sees only the last `window` positions, its own included. */
  readonly window?: number;
  /** softcap tanh(scores / softcap), Gemma 2's. */
  readonly softcap?: number;
  /** The scores of later keys are overwritten before the padding mask is added, as in GPT-2's code. Real tokens get the same
   *  result; padding attends to everything except later padding. */
  readonly overwritesLater?: boolean;
  /** Keys and values come from the encoder. */
  readonly cross?: boolean;
  /** Added to the scores: [batch or 1, heads, queries, keys]. */
  readonly bias?: (queries: Int, keys: Int) => Float;
}

/** q: [batch, heads, queries, size]; k, v: [batch, kvHeads, keys, size] -> [batch, queries, heads * size].
 *  Where kvHeads < heads, query heads share keys in consecutive groups (Ainslie et al. 2023). */
export type Attention = (q: Float, k: Float, v: Float, spec: AttentionSpec) => Float;

// Added to the scores of keys that a query may not see. Beside any real score its exp is exactly 0, and a row in which every
// key is masked stays finite.
const MASKED = -1e9;

export type Dropout = (x: Float) => Float;
export const noDropout: Dropout = (x) => x;

/** x: [batch, sequence, heads * size] -> [batch, heads, sequence, size] */
export function splitHeads(x: Float, heads: number, size: number): Float {
  const [batch, sequence] = x.shape as [Size, Size];
  return transpose(reshape(x, batch, sequence, heads, size), [0, 2, 1, 3]);
}
/** x: [batch, heads, sequence, size] -> [batch, sequence, heads * size] */
export function joinHeads(x: Float): Float {
  const [batch, heads, sequence, size] = x.shape as [Size, number, Size, number];
  return reshape(transpose(x, [0, 2, 1, 3]), batch, sequence, heads * size);
}

/** Whether a key's position is at or before the query's: [batch or 1, 1, queries, keys] */
function isCausal(queries: Places, keys: Places): Bool {
  return lessOrEqual(unsqueeze(keys.positions, 1, 2), unsqueeze(queries.positions, 1, 3));
}

/** 0 where a query may see a key, MASKED elsewhere: [batch or 1, 1, queries, keys]; undefined when nothing is masked. */
export function maskBias(queries: Places, keys: Places, { causal, window }: Pick<AttentionSpec, "causal" | "window">): Float | undefined {
  const q = unsqueeze(queries.positions, 1, 3);
  const k = unsqueeze(keys.positions, 1, 2);
  const conditions: Bool[] = [];
  if (keys.valid) conditions.push(cast(unsqueeze(keys.valid, 1, 2), "bool"));
  if (causal) conditions.push(isCausal(queries, keys));
  if (window !== undefined) conditions.push(less(subInt(q, k), window));
  if (queries.documents && keys.documents) conditions.push(equal(unsqueeze(queries.documents, 1, 3), unsqueeze(keys.documents, 1, 2)));
  if (conditions.length === 0) return undefined;
  return where(conditions.reduce(and), 0, MASKED);
}

/** Applies softcap, bias and mask to scale q kᵀ [batch, heads, queries, keys], before the softmax. */
function adjusted(scores: Float, { softcap, bias, overwritesLater, ...mask }: AttentionSpec, queries: Places, keys: Places): Float {
  const softened = softcap === undefined ? scores : mul(tanh(div(scores, softcap)), softcap);
  const capped = overwritesLater ? where(isCausal(queries, keys), softened, MASKED) : softened;
  const hidden = maskBias(queries, keys, overwritesLater ? { ...mask, causal: false } : mask);
  const biased = bias?.(queries.positions, keys.positions);
  const added = biased && hidden ? add(biased, hidden) : (biased ?? hidden);
  return added ? add(capped, added) : capped;
}

/** Product of [batch, heads, n, ...] with [batch, kvHeads, ...]. Query heads that share a matrix are stacked as its rows. */
function groupedProduct(left: Float, right: Float, options: { transB?: boolean; alpha?: number }): Float {
  const [batch, heads, rows, inner] = left.shape as [Size, number, Size, Size];
  const kvHeads = right.shape[1] as number;
  if (heads === kvHeads) return matmul(left, right, options);
  const stacked = reshape(left, batch, kvHeads, flattened([heads / kvHeads, rows]), inner);
  const product = matmul(stacked, right, options);
  return reshape(product, batch, heads, rows, product.shape.at(-1)!);
}

/** Attention over the keys of this call. `self` describes the call's own tokens, `encoder` those of cross-attention. */
export function fullAttention(self: Places, { encoder, dropout = noDropout }: { encoder?: Places; dropout?: Dropout } = {}): Attention {
  return (q, k, v, spec) => {
    const keys = spec.cross && encoder ? encoder : self;
    const scores = shaped(groupedProduct(q, k, { transB: true, alpha: spec.scale }), ...q.shape.slice(0, 3), k.shape[2]!);
    return joinHeads(groupedProduct(dropout(softmax(adjusted(scores, spec, self, keys))), v, {}));
  };
}

/** The buffer of one attention's earlier keys and values: [batch, kvHeads, capacity, size]. */
export interface CacheEntry {
  readonly keys: Float;
  readonly values: Float;
}
export interface Cache {
  /** The past of the attention at `path`, with this many heads of this size. */
  past(path: string, kvHeads: number, size: number): CacheEntry;
  /** Called with the new keys and values, [batch, kvHeads, sequence, size]. */
  store(path: string, entry: CacheEntry): void;
  /** The positions of the cached tokens; slots that are not yet written are invalid. */
  readonly places: Places;
}

/** Attention over cached keys and those of this call: a prefill chunk or a decode step. The scores of both are
 *  concatenated, so the buffer itself is never copied. */
export function cachedAttention(self: Places, cache: Cache, { encoder }: { encoder?: Places } = {}): Attention {
  return (q, k, v, spec) => {
    if (spec.cross) return fullAttention(self, encoder ? { encoder } : {})(q, k, v, spec);
    const past = cache.past(spec.path, k.shape[1] as number, k.shape[3] as number);
    cache.store(spec.path, { keys: k, values: v });
    const product = (keys: Float) => groupedProduct(q, keys, { transB: true, alpha: spec.scale });
    const scores = concat([product(past.keys), product(k)], -1, "keys");
    const weights = softmax(adjusted(scores, spec, self, sideBySide(cache.places, self)));
    const capacity = past.keys.shape[2]!;
    const end = sizeOf(weights.graph, capacity);
    const pastWeights = slice(weights, -1, 0, end, String(capacity));
    const nowWeights = slice(weights, -1, end, Number.MAX_SAFE_INTEGER, String(k.shape[2]));
    return joinHeads(add(groupedProduct(pastWeights, past.values, {}), groupedProduct(nowWeights, v, {})));
  };
}

/** The positions of cached keys, then those of this call; each with the mask of its real keys. */
function sideBySide(past: Places, now: Places): Places {
  const [batch] = now.positions.shape;
  const joined = (left: Int, right: Int) => concat([expand(left, batch!, left.shape[1]!), right], 1, "keys");
  invariant(past.valid && now.valid, "cached attention needs to know which keys are real");
  return { positions: joined(past.positions, now.positions), valid: joined(past.valid, now.valid) };
}
