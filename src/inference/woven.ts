/** @file The addition to a base model: nothing, one adapter, or a routed pool. A `Woven` is an immutable value, so any
 *  number of them can compute on one base at the same time.
 *
 *      key     the graph     values with equal keys use one graph; only their feeds differ
 *      batch   the run       values with equal `batch` may share one run; only the choices of rows differ
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

/** The addition to a base: an immutable value, so any number of them can compute on one base at the same time. */
export interface Woven {
  /** Values with equal keys use the same graphs. */
  readonly key: string;
  /** Values with equal ids compute equal numbers over one base. */
  readonly id: string;
  /** Requests whose values have equal `batch` may share one run: graph and feeds are the same, and only the results of
   *  `chooseRows` differ by row. */
  readonly batch: string;
  /** Names of the experts, in the order of the indices in routes; empty when nothing is routed. */
  readonly experts: readonly string[];
  /** Token ids with which the adapter or experts learned to end a chat turn, in addition to those of the chat template. */
  readonly turnEnds?: readonly number[] | undefined;
  /** Feeds of every run. They never change. */
  readonly feeds: Feeds;
  /** The feeds with each row's choice, for every run that computes the row: tensors [batch, ...]. Absent when rows
   *  choose nothing. */
  readonly chooseRows?: ((prompts: Prompts) => Promise<Feeds>) | undefined;
  /** What computes the same numbers at less cost, without choices of rows. A run uses it if all of its rows have the same one. */
  readonly alone?: Woven;
  /** More feeds of a run, from the choices of its rows: for what is in memory only while rows use it. */
  readonly feedsOfChosen?: ((choices: Feeds) => Feeds) | undefined;
  /** Whether a token's numbers depend on its whole row, including padding and later tokens. */
  readonly readsWholeRows?: boolean;
  weave(graph: Graph, inner: Seams, onRoute?: OnRoute): Seams;
}

/** The base model alone. */
export const plain: Woven = { key: "plain", id: "plain", batch: "plain", feeds: {}, experts: [], weave: (_, inner) => inner };

/** The feeds of a run whose rows have these choices, without those of every run. */
export function feedsOfRows({ feedsOfChosen }: Woven, choices: Feeds): Feeds {
  return feedsOfChosen ? { ...choices, ...feedsOfChosen(choices) } : choices;
}

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

/** The token ids that end a turn for any of the experts. */
export function turnEndsOf(experts: readonly Expert[]): readonly number[] {
  return [...new Set(experts.flatMap(({ adapter }) => adapter.turnEnds ?? []))];
}

/** Identifies the numbers of an expert: its adapter, gates, activations and embeddings. */
export function expertIdentity({ adapter, gates, activations, embeddings }: Expert): string {
  return [adapter, gates, activations, embeddings].map((part) => (part ? identityOf(part) : "")).join("/");
}

const identities = new WeakMap<object, number>();
let latest = 0;

/** A number that is unique to the object in this process. Adapters and experts never change, so it identifies their numbers. */
export function identityOf(value: object): number {
  const known = identities.get(value) ?? ++latest;
  identities.set(value, known);
  return known;
}
