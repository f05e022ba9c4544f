/** @file The third seam: every look-up of token embeddings is one call of an `Embedding`.
 *
 *      base model  baseEmbedding(weights)        E[id]
 *      adapter     adapted(seams, adapter, ...)  E[id] + scaling B A[:, id]
 *
 *  A look-up is a projection of a one-hot vector. An adapter therefore treats a table [rows, width] as a projection with in = rows
 *  and out = width. It has no input vector, so there is nothing to score, gate or route. */

import { gather } from "../graph/ops/movement.ts";
import type { Float, Int } from "../graph/value.ts";
import { baseLinear, type Linear, type Weights } from "./linear.ts";

export interface Table {
  readonly rows: number;
  readonly width: number;
  /** The checkpoint's tensor, if it is not `<module>.weight`: for a table that several modules share. */
  readonly tensor?: string;
}

/** E[ids] for the embedding `module`. ids: int64 [batch, sequence] -> [batch, sequence, width] */
export type Embedding = (ids: Int, module: string, table: Table) => Float;

/** The embeddings of the base model. */
export function baseEmbedding(weights: Weights): Embedding {
  return (ids, module, { rows, width, tensor = `${module}.weight` }) => gather(weights(tensor, rows, width), ids);
}

/** The seams that an adapter can change. */
export interface Seams {
  readonly linear: Linear;
  readonly embedding: Embedding;
}

/** The seams of the base model alone. */
export function baseSeams(weights: Weights): Seams {
  return { linear: baseLinear(weights), embedding: baseEmbedding(weights) };
}
