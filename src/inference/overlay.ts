/** @file What is put on top of the base model for inference: nothing, one adapter, or a routed pool. */

import type { Adapter } from "../adapters/adapter.ts";
import type { Expert } from "../adapters/expert.ts";
import { adapted, adapterGraphKey, adapterTensors } from "../adapters/in-graph.ts";
import type { ModuleSizes } from "../adapters/modules.ts";
import { PoolError } from "../base/errors.ts";
import { float32, type HostTensor } from "../base/tensor.ts";
import type { Graph } from "../graph/value.ts";
import type { Seams } from "../models/embedding.ts";
import { ROW_BIAS, routed } from "../routing/mixture.ts";
import type { Route, Router } from "../routing/router.ts";
import { ExpertStack, stackShapes } from "../routing/stack.ts";
import type { Feeds } from "../runtime/session.ts";

/** The texts a batch's rows start from, as token ids: what a sequence-level method chooses by. */
export interface Prompts {
  /** int64 [batch, sequence] */
  readonly inputIds: HostTensor<"int64">;
  /** int64 [batch, sequence], 1 for real tokens. */
  readonly attentionMask: HostTensor<"int64">;
}
/** What each row adds to the scores of the pool's experts: [batch, experts] of 0, or BARRED for those it may not use. */
export type RowBias = (prompts: Prompts, experts: readonly Expert[]) => Promise<HostTensor<"float32">>;

export interface Overlay {
  /** Graphs built for one key serve every overlay state with that key. */
  readonly key: string;
  readonly feeds: Feeds;
  /** Names of the experts, in the order routes count them; empty when nothing is routed. */
  readonly experts: readonly string[];
  /** What the rows of a batch choose for themselves, to be fed in every run that computes them; absent when they choose nothing. */
  readonly rowFeeds?: ((prompts: Prompts) => Promise<Feeds>) | undefined;
  /** Whether a token's computation depends on its whole row, padding and later tokens among it. */
  readonly readsWholeRows?: boolean;
  weave(graph: Graph, inner: Seams, onRoute?: (module: string, route: Route) => void): Seams;
}

/** The base model alone. */
export const plain: Overlay = { key: "plain", feeds: {}, experts: [], weave: (_, inner) => inner };

/** One adapter on every token. */
export function singleAdapter(adapter: Adapter, sizes: ModuleSizes): Overlay {
  return {
    key: `adapter ${adapterGraphKey(adapter)}`,
    feeds: Object.fromEntries(adapterTensors(adapter)),
    experts: [],
    weave: (_, inner) => adapted(inner, adapter, sizes),
  };
}

export interface RoutedPoolOptions {
  readonly router: Router;
  /** Experts that serve a token; the router's own when absent. */
  readonly topK?: number;
  /** Rows choose experts for themselves; `openRows` lets each use all and serves batches that bring a bias. */
  readonly rows?: RowBias;
  /** What becomes of an expert that `add` brings; it stays as it is when absent. */
  readonly joining?: (expert: Expert) => Expert;
}

/** Every row may use every expert, unless its batch brings a bias. */
export const openRows: RowBias = async ({ inputIds }, experts) => float32([inputIds.shape[0]!, experts.length]);

/** A pool whose experts are chosen by `router` for every token at every module. */
export class RoutedPool implements Overlay {
  readonly #router: Router;
  readonly #topK: number;
  readonly #rows: RowBias | undefined;
  readonly #joining: (expert: Expert) => Expert;
  readonly #sizes: ModuleSizes;
  readonly #members: Expert[];
  #stack: ExpertStack;

  constructor(experts: readonly Expert[], sizes: ModuleSizes, { router, topK, rows, joining }: RoutedPoolOptions) {
    if (experts.length === 0) throw new PoolError({ what: "The pool has no experts.", fix: "Add one: skein pool add POOL EXPERT." });
    this.#router = router;
    this.#topK = topK ?? router.topK;
    this.#rows = rows;
    this.#joining = joining ?? ((expert) => expert);
    this.#sizes = sizes;
    this.#members = [...experts];
    this.#stack = new ExpertStack(stackShapes(experts, sizes, router), router, experts);
  }

  get key(): string {
    const shapes = [...this.#stack.modules].map(
      ([module, { form, factors, rows, barred }]) => `${module}:${form}:${JSON.stringify(factors)}:${rows}${barred ? ":barred" : ""}`,
    );
    return `routed ${this.#router.key} k=${this.#k} ${this.#rows ? "rows " : ""}${shapes.join()}`;
  }
  get #k(): number {
    return Math.min(this.#topK, this.#members.length);
  }
  get feeds(): Feeds {
    return this.#stack.feeds;
  }
  get experts(): readonly string[] {
    return this.#stack.names;
  }
  get readsWholeRows(): boolean {
    return this.#router.mixes === "parameters";
  }
  get rowFeeds(): Overlay["rowFeeds"] {
    const rows = this.#rows;
    return rows && (async (prompts) => ({ [ROW_BIAS]: await rows(prompts, this.#members) }));
  }

  /** Adds an expert; graphs stay as they are unless it brings a larger rank or a new module. */
  add(brought: Expert): void {
    const expert = this.#joining(brought);
    stackShapes([this.#members[0]!, expert], this.#sizes, this.#router); // refuses an expert of another kind
    const members = [...this.#members, expert];
    if (this.#stack.fits(expert)) this.#stack.add(expert);
    else this.#stack = new ExpertStack(stackShapes(members, this.#sizes, this.#router), this.#router, members);
    this.#members.push(expert);
  }

  weave(graph: Graph, inner: Seams, onRoute?: (module: string, route: Route) => void): Seams {
    const options = { router: this.#router, topK: this.#k, modules: this.#stack.modules, rowBias: this.#rows !== undefined };
    return { ...inner, linear: routed(graph, inner.linear, { ...options, ...(onRoute ? { onRoute } : {}) }) };
  }
}
