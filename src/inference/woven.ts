/** @file What is put on top of a base model: nothing, one adapter, a routed pool. A `Woven` is an immutable value, so any
 *  number of them can compute on one base at the same time.
 *
 *      key     the graph     what two values with equal keys need is one graph; they differ in what they feed
 *      batch   the run       values with equal `batch` may share one run: they differ only in what rows choose
 *      id      the numbers   values with equal ids compute equal numbers */

import type { Adapter } from "../adapters/adapter.ts";
import type { Expert } from "../adapters/expert.ts";
import { adapted, adapterGraphKey, adapterTensors } from "../adapters/in-graph.ts";
import type { ModuleSizes } from "../adapters/modules.ts";
import type { Graph } from "../graph/value.ts";
import type { Seams } from "../models/embedding.ts";
import type { Route } from "../routing/router.ts";
import type { Feeds } from "../runtime/session.ts";
import type { Prompts } from "./prompts.ts";

/** Called with each module's route while a graph is built. */
export type OnRoute = (module: string, route: Route) => void;

/** What is put on top of a base: an immutable value, so that any number of them compute on one base at once. */
export interface Woven {
  /** Graphs built for one key serve every value with that key. */
  readonly key: string;
  /** Values with equal ids compute equal numbers over one base. */
  readonly id: string;
  /** Requests whose values have equal `batch` may share one run: graph and feeds are the same, and rows differ only in what
   *  `chooseRows` gives. */
  readonly batch: string;
  /** Names of the experts, in the order routes count them; empty when nothing is routed. */
  readonly experts: readonly string[];
  /** Token ids with which what is woven in learned to end a turn of a chat, besides the chat template's own. */
  readonly turnEnds?: readonly number[] | undefined;
  /** Fed in every run; fixed for the life of the value. */
  readonly feeds: Feeds;
  /** What each row chooses for itself, to be fed in every run that computes the row: tensors [batch, ...]. Absent when rows
   *  choose nothing. */
  readonly chooseRows?: ((prompts: Prompts) => Promise<Feeds>) | undefined;
  /** Whether a token's computation depends on its whole row, padding and later tokens among it. */
  readonly readsWholeRows?: boolean;
  weave(graph: Graph, inner: Seams, onRoute?: OnRoute): Seams;
}

/** The base model alone. */
export const plain: Woven = { key: "plain", id: "plain", batch: "plain", feeds: {}, experts: [], weave: (_, inner) => inner };

/** One adapter on every token. */
export function singleAdapter(adapter: Adapter, sizes: ModuleSizes): Woven {
  const id = `adapter ${identityOf(adapter)}`;
  return {
    key: `adapter ${adapterGraphKey(adapter)}`,
    id,
    batch: id,
    feeds: Object.fromEntries(adapterTensors(adapter)),
    experts: [],
    turnEnds: adapter.turnEnds,
    weave: (_, inner) => adapted(inner, adapter, sizes),
  };
}

/** The ends of turns that any of the experts learned. */
export function turnEndsOf(experts: readonly Expert[]): readonly number[] {
  return [...new Set(experts.flatMap(({ adapter }) => adapter.turnEnds ?? []))];
}

/** What an expert computes by: its adapter, gates, activations and embeddings. */
export function expertIdentity({ adapter, gates, activations, embeddings }: Expert): string {
  return [adapter, gates, activations, embeddings].map((part) => (part ? identityOf(part) : "")).join("/");
}

const identities = new WeakMap<object, number>();
let latest = 0;

/** A number that no other object of this process has. Adapters and experts are never changed, so it stands for their numbers. */
export function identityOf(value: object): number {
  const known = identities.get(value) ?? ++latest;
  identities.set(value, known);
  return known;
}
