/** @file A pool's experts for people: sizes, ranks, modules, model cards, and how alike they are.
 *
 *      by gates      cosine of the gates, all modules joined: experts that want the same tokens
 *      by updates    cosine of the updates scaling B A (Frobenius), from products of the factors:  <B A, B' A'> = sum((Bᵀ B') * (A A'ᵀ)) */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { LoraWeights } from "../adapters/adapter.ts";
import type { Expert } from "../adapters/expert.ts";
import type { HostTensor } from "../base/tensor.ts";
import type { ExpertCard, PoolCards } from "./backend.ts";
import type { PoolMember, ServedPool } from "./served-pool.ts";

const MOST_CARD = 20_000; // characters
const MOST_WORK = 2e9; // multiplications for updates; larger pools are compared by their gates, or not at all

export async function poolCards(id: string, pool: Pick<ServedPool, "members" | "standard">): Promise<PoolCards> {
  const { members, standard } = pool;
  const experts = members.map(({ expert }) => expert);
  return { id, method: standard, experts: await Promise.all(members.map(cardOf)), ...similarities(experts) };
}

async function cardOf({ expert, root, sha256 }: PoolMember): Promise<ExpertCard> {
  const { name, adapter, gates, activations, embeddings } = expert;
  const tensors = [...adapter.modules.values()].flatMap(tensorsOf);
  const ranks = adapter.kind === "lora" ? [...adapter.modules.values()].map(({ rank }) => rank) : [];
  const card = await readFile(join(root, "README.md"), "utf8").catch(() => ""); // absent, or on the Hub
  return {
    name,
    kind: adapter.kind,
    bytes: tensors.reduce((sum, { data }) => sum + data.byteLength, 0),
    parameters: tensors.reduce((sum, { data }) => sum + data.length, 0),
    ...(ranks.length > 0 && { ranks: [Math.min(...ranks), Math.max(...ranks)] as const }),
    modules: [...adapter.modules.keys()],
    root,
    ...(sha256 !== undefined && { sha256 }),
    brings: [
      ...(gates ? (["gates"] as const) : []),
      ...(activations ? (["activations"] as const) : []),
      ...(embeddings ? (["embeddings"] as const) : []),
    ],
    card: card.slice(0, MOST_CARD),
  };
}

function tensorsOf(weights: object): HostTensor[] {
  return Object.values(weights).filter((value): value is HostTensor => typeof value === "object" && value !== null && "data" in value);
}

function similarities(experts: readonly Expert[]): Pick<PoolCards, "similarity" | "comparedBy"> {
  const byGates = experts.every(({ gates }) => gates);
  const byUpdates = !byGates && workOf(experts) <= MOST_WORK && experts.every(({ adapter }) => adapter.kind === "lora");
  const product = byGates ? gateProduct : byUpdates ? updateProduct : () => undefined;
  const norms = experts.map((expert) => Math.sqrt(product(expert, expert) ?? 0));
  const cosine = (i: number, j: number) => {
    const value = product(experts[i]!, experts[j]!);
    return value === undefined || norms[i] === 0 || norms[j] === 0 ? null : Math.round((value / (norms[i]! * norms[j]!)) * 1e4) / 1e4;
  };
  const half = experts.map((_, i) => experts.slice(0, i + 1).map((_, j) => cosine(i, j)));
  const similarity = experts.map((_, i) => experts.map((_, j) => (j <= i ? half[i]![j]! : half[j]![i]!)));
  return { similarity, comparedBy: byGates ? "gates" : byUpdates ? "updates" : "nothing" };
}

function gateProduct({ gates: one }: Expert, { gates: other }: Expert): number {
  return [...one!].reduce((sum, [module, { data }]) => {
    const own = other!.get(module)?.data;
    return own ? sum + data.reduce((total, value, i) => total + value * own[i]!, 0) : sum;
  }, 0);
}

/** Multiplications that comparing all pairs of updates takes. */
function workOf(experts: readonly Expert[]): number {
  const ofOne = experts.reduce((sum, { adapter }) => {
    if (adapter.kind !== "lora") return sum;
    return sum + [...adapter.modules.values()].reduce((total, { rank, a, b }) => total + rank * (a.data.length + b.data.length), 0);
  }, 0);
  return (ofOne * (experts.length + 1)) / 2;
}

function updateProduct({ adapter: one }: Expert, { adapter: other }: Expert): number {
  if (one.kind !== "lora" || other.kind !== "lora") return 0;
  return [...one.modules].reduce((sum, [module, weights]) => {
    const partner = other.modules.get(module);
    return partner ? sum + moduleProduct(weights, partner) : sum;
  }, 0);
}

function moduleProduct(one: LoraWeights, other: LoraWeights): number {
  const width = one.a.shape[1]!;
  const out = one.b.shape[0]!;
  let sum = 0;
  for (let i = 0; i < one.rank; i++) {
    for (let j = 0; j < other.rank; j++) {
      let [left, right] = [0, 0];
      for (let n = 0; n < out; n++) left += one.b.data[n * one.rank + i]! * other.b.data[n * other.rank + j]!;
      for (let n = 0; n < width; n++) right += one.a.data[i * width + n]! * other.a.data[j * width + n]!;
      sum += left * right;
    }
  }
  return sum * one.scaling * other.scaling;
}
