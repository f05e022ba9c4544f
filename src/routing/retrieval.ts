/** @file Retrieval (Jang et al. 2023, arXiv:2302.03202, as a baseline of Muqeeth et al. 2024; reference: r-three/phatgoose,
 *  src/models/addons/retriever.py and moe.py:368-392): one expert for a whole query, in every layer.
 *
 *      s_z = max over expert z's examples e of cos(embedding of the query, embedding of e)     up to 1000 examples an expert
 *      z*  = the expert with the largest s_z;  ties go to the lower index
 *
 *  The choice enters as a bias of the row: 0 for z*, BARRED for the others. */

import type { Expert } from "../adapters/expert.ts";
import { PoolError } from "../base/errors.ts";
import { float32, type HostTensor } from "../base/tensor.ts";
import { BARRED } from "./router.ts";

type Tensor = HostTensor<"float32">;

/** The number of embedded examples per expert, as in the authors' code (dataset_length, retriever.sh:143). */
export const MOST_EMBEDDED_EXAMPLES = 1000;

/** The largest cosine between each query and the examples of each expert. queries: [rows, dimension], unit vectors -> [rows][experts] */
export function similarities(queries: Tensor, libraries: readonly Tensor[]): number[][] {
  const [rows = 0, size = 0] = queries.shape;
  return Array.from({ length: rows }, (_, row) => {
    const query = queries.data.subarray(row * size, (row + 1) * size);
    return libraries.map((library) => largestProduct(query, library));
  });
}

function largestProduct(query: Float32Array, { data }: Tensor): number {
  let best = Number.NEGATIVE_INFINITY;
  for (let at = 0; at < data.length; at += query.length) {
    let sum = 0;
    for (let i = 0; i < query.length; i++) sum += query[i]! * data[at + i]!;
    best = Math.max(best, sum);
  }
  return best;
}

/** The index of the largest number; the lowest index among equal ones. */
export function bestIndex(values: readonly number[]): number {
  return values.reduce((best, value, i) => (value > values[best]! ? i : best), 0);
}

/** The bias that selects one expert for each row: [rows, experts] of 0 and BARRED. */
export function oneExpertBias(choices: readonly number[], experts: number): Tensor {
  const bias = float32([choices.length, experts], new Float32Array(choices.length * experts).fill(BARRED));
  choices.forEach((choice, row) => {
    bias.data[row * experts + choice] = 0;
  });
  return bias;
}

/** The experts' embedded examples, made by `embedder`. An expert without them, or with those of another embedder, is an error that names it. */
export function librariesOf(experts: readonly Expert[], embedder: string): Tensor[] {
  const libraries = experts.map(({ name, embeddings }) => {
    if (embeddings?.embedder === embedder) return embeddings.vectors;
    const has = embeddings ? `examples embedded by ${embeddings.embedder}, not ${embedder}` : "no embedded examples";
    throw new PoolError({
      code: "pool-embeddings",
      data: { expert: name, embedder },
      what: `Expert "${name}" has ${has}.`,
      fix: "Embed its examples with gatherStatistics, or use another router.",
    });
  });
  const sizes = new Set(libraries.map(({ shape }) => shape[1]));
  if (sizes.size <= 1) return libraries;
  throw new PoolError({
    code: "pool-embeddings-differ",
    what: `The experts' embeddings have ${[...sizes].join(", ")} dimensions.`,
    fix: "Embed them all with one embedder.",
  });
}
