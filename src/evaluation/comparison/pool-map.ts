/** @file A pool as a map: how alike its experts are, in three ways.
 *
 *    updates   the cosine of the products scaling B A, summed over the modules that both have; LoRAs alone
 *    gates     the mean cosine of the standardized gates of the modules that both have
 *    served    the cosine of their shares of the routing weight, over texts and modules
 *
 *  Twins are two experts whose updates have a cosine above 0.95. Clusters are what single linkage joins above 0.5 of the mean of the
 *  three; positions are classical scaling of 1 - similarity (Torgerson 1952). */

import type { LoraAdapter } from "../../adapters/adapter.ts";
import type { Expert } from "../../adapters/expert.ts";
import type { HostTensor } from "../../base/tensor.ts";
import { type Model, withWoven } from "../../inference/model.ts";
import { RoutedPool } from "../../inference/routed-pool.ts";
import { routerNamed, usualRouter } from "../../methods/registry.ts";
import { normalized } from "../../routing/comparison.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import { promptRoutes } from "../scoring/prompt-routes.ts";
import { clustersOf, scaledPositions } from "./clusters.ts";

/** A square of cosines, in the pool's order. */
export type Similarities = readonly (readonly number[])[];
/** What experts are compared by. */
export type SimilarityKind = "updates" | "gates" | "served";

/** Experts that are alike, and what they share. */
export interface PoolCluster {
  readonly name: string;
  readonly experts: readonly string[];
}
/** What a map shows. */
export interface PoolMap {
  readonly experts: readonly string[];
  /** The kinds that the experts allow. */
  readonly similarities: Readonly<Partial<Record<SimilarityKind, Similarities>>>;
  /** The mean of those, and where each expert is drawn by it. */
  readonly mean: Similarities;
  readonly positions: readonly (readonly [number, number])[];
  readonly clusters: readonly PoolCluster[];
  readonly twins: readonly { readonly experts: readonly [string, string]; readonly similarity: number }[];
  /** Share of the routing weight over all texts. */
  readonly shares: readonly number[];
  /** Experts that no token of the texts chose. */
  readonly neverChosen: readonly string[];
}
/** How a pool is mapped. */
export interface PoolMapOptions {
  /** The router, by name and options. Default: phatgoose where every expert has gates, else arrow. */
  readonly router?: string | undefined;
  /** What cards say of experts, by their names: clusters are named by words that their members share. */
  readonly descriptions?: ReadonlyMap<string, string>;
}

const TWINS = 0.95;
const JOINED = 0.5;

/** The map of a pool over a model's base, by the tokens of `texts`.
 *  @throws PoolError for experts that the router cannot score. */
export async function poolMap(
  model: Model,
  tokenizer: Tokenizer,
  experts: readonly Expert[],
  texts: readonly string[],
  { router = usualRouter(experts), descriptions = new Map() }: PoolMapOptions = {},
): Promise<PoolMap> {
  const served = await servedBy(model, tokenizer, experts, texts, router);
  const updates = experts.every(({ adapter }) => adapter.kind === "lora") ? pairwise(experts, updateProduct) : undefined;
  const gates = experts.every((expert) => expert.gates) ? pairwise(experts, gateProduct) : undefined;
  const similarities = {
    ...(updates && { updates: cosines(updates) }),
    ...(gates && { gates: cosines(gates) }),
    served: cosines(served.map((one) => served.map((other) => dot(one, other)))),
  };
  const kinds = Object.values(similarities);
  const mean = experts.map((_, i) => experts.map((_, j) => kinds.reduce((sum, kind) => sum + kind[i]![j]!, 0) / kinds.length));
  const names = experts.map(({ name }) => name);
  const total = served.flat().reduce((sum, value) => sum + value, 0);
  const shares = served.map((own) => own.reduce((sum, value) => sum + value, 0) / total);
  return {
    experts: names,
    similarities,
    mean,
    positions: scaledPositions(mean),
    clusters: clustersOf(mean, JOINED).map((members) =>
      named(
        members.map((i) => names[i]!),
        descriptions,
      ),
    ),
    twins: pairsAbove(similarities.updates ?? [], names),
    shares,
    neverChosen: names.filter((_, i) => shares[i] === 0),
  };
}

type Product = (a: Expert, b: Expert) => number;
const pairwise = (experts: readonly Expert[], product: Product) => experts.map((one) => experts.map((other) => product(one, other)));

/** <scaling_a B_a A_a, scaling_b B_b A_b>, summed over modules: the trace of A_aᵀ B_aᵀ B_b A_b, without either product. */
const updateProduct: Product = (a, b) => {
  const other = (b.adapter as LoraAdapter).modules;
  let sum = 0;
  for (const [module, one] of (a.adapter as LoraAdapter).modules) {
    const two = other.get(module);
    if (!two) continue;
    const columns = between(one.b, two.b, "columns");
    const rows = between(one.a, two.a, "rows");
    sum += one.scaling * two.scaling * dot(columns, rows);
  }
  return sum;
};

/** Products of all pairs of columns, or of rows, of two matrices: [rank, rank]. */
function between(one: HostTensor<"float32">, two: HostTensor<"float32">, what: "rows" | "columns"): Float64Array {
  const [r, s] = what === "rows" ? [one.shape[0]!, two.shape[0]!] : [one.shape[1]!, two.shape[1]!];
  const length = what === "rows" ? one.shape[1]! : one.shape[0]!;
  const products = new Float64Array(r * s);
  const [own, other] = [what === "rows" ? [length, 1] : [1, r], what === "rows" ? [length, 1] : [1, s]] as const;
  for (let i = 0; i < r; i++) {
    for (let j = 0; j < s; j++) {
      let sum = 0;
      for (let t = 0; t < length; t++) sum += one.data[i * own[0]! + t * own[1]!]! * two.data[j * other[0]! + t * other[1]!]!;
      products[i * s + j] = sum;
    }
  }
  return products;
}

const gateProduct: Product = (a, b) => {
  let sum = 0;
  for (const [module, gate] of a.gates ?? []) {
    const other = b.gates?.get(module);
    if (other) sum += dot(normalized(gate, "layer").data, normalized(other, "layer").data) / gate.data.length;
  }
  return sum;
};

function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

/** Products divided by both lengths; an expert that changes nothing is like no other. */
function cosines(products: readonly (readonly number[])[]): Similarities {
  const length = products.map((row, i) => Math.sqrt(Math.max(0, row[i]!)));
  return products.map((row, i) => row.map((value, j) => (i === j ? 1 : value / (length[i]! * length[j]! || 1))));
}

/** Each expert's summed weight, by text and module: [expert][text x module]. */
async function servedBy(model: Model, tokenizer: Tokenizer, experts: readonly Expert[], texts: readonly string[], router: string) {
  const pool = withWoven(model, new RoutedPool(experts, model.base.modules, { router: routerNamed(router) }));
  const served = experts.map((): number[] => []);
  for (const text of texts) {
    for (const route of (await promptRoutes(pool, tokenizer, text)).values()) {
      for (const own of served) own.push(0);
      route.experts.data.forEach((expert, at) => {
        const own = served[Number(expert)]!;
        own[own.length - 1]! += route.weights.data[at]!;
      });
    }
  }
  return served;
}

function pairsAbove(updates: Similarities, names: readonly string[]): PoolMap["twins"] {
  return updates.flatMap((row, i) =>
    row.flatMap((similarity, j) => (j > i && similarity > TWINS ? [{ experts: [names[i]!, names[j]!] as const, similarity }] : [])),
  );
}

const COMMON = new Set(["data", "base", "model", "expert", "adapter", "jsonl", "json", "recorded", "not", "the", "and", "for", "lora"]);

/** A cluster's name: the words that most of its experts' names and cards share, else its first expert. */
function named(experts: readonly string[], descriptions: ReadonlyMap<string, string>): PoolCluster {
  const counts = new Map<string, number>();
  for (const expert of experts) {
    const words = new Set(`${expert} ${descriptions.get(expert) ?? ""}`.toLowerCase().match(/\p{L}{3,}/gu) ?? []);
    for (const word of words) if (!COMMON.has(word)) counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  const shared = [...counts].filter(([, count]) => experts.length > 1 && count > experts.length / 2).sort(([, a], [, b]) => b - a);
  return {
    name:
      shared
        .slice(0, 2)
        .map(([word]) => word)
        .join(" ") || experts[0]!,
    experts,
  };
}
