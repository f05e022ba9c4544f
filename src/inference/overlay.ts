/** @file What is put on top of the base model for inference: nothing, one adapter, or a routed pool. */

import type { LoraAdapter } from "../adapters/adapter.ts";
import type { Expert } from "../adapters/expert.ts";
import { loraDelta, loraInputs, loraNames } from "../adapters/lora.ts";
import type { ModuleSizes } from "../adapters/modules.ts";
import { PoolError } from "../base/errors.ts";
import type { HostTensor } from "../base/tensor.ts";
import type { Graph } from "../graph/graph.ts";
import { type Linear, weave } from "../models/linear.ts";
import { routed } from "../routing/mixture.ts";
import type { Route, Router } from "../routing/router.ts";
import { ExpertStack, stackShapes } from "../routing/stack.ts";
import type { Feeds } from "../runtime/session.ts";

export interface Overlay {
  /** Graphs built for one key serve every overlay state with that key. */
  readonly key: string;
  readonly feeds: Feeds;
  /** Names of the experts, in the order routes count them; empty when nothing is routed. */
  readonly experts: readonly string[];
  weave(graph: Graph, inner: Linear, onRoute?: (module: string, route: Route) => void): Linear;
}

/** The base model alone. */
export const plain: Overlay = { key: "plain", feeds: {}, experts: [], weave: (_, inner) => inner };

/** One adapter on every token. */
export function singleAdapter(adapter: LoraAdapter, sizes: ModuleSizes): Overlay {
  const feeds: Record<string, HostTensor> = {};
  for (const [module, { a, b }] of adapter.modules) {
    feeds[loraNames(module).a] = a;
    feeds[loraNames(module).b] = b;
  }
  const shape = [...adapter.modules].map(([module, { rank, scaling }]) => `${module}:${rank}:${scaling}`).join();
  return {
    key: `adapter ${shape}`,
    feeds,
    experts: [],
    weave: (graph, inner) =>
      weave(inner, (x, module) => {
        const lora = adapter.modules.get(module);
        if (!lora) return undefined;
        const values = loraInputs(graph, module, { rank: lora.rank, ...sizes.get(module)! });
        return loraDelta(x, { ...values, scaling: lora.scaling, ...(lora.bias ? { bias: graph.constant(lora.bias) } : {}) });
      }),
  };
}

/** A pool whose experts are chosen by `router` for every token at every module. */
export class RoutedPool implements Overlay {
  readonly #router: Router;
  readonly #topK: number;
  readonly #sizes: ModuleSizes;
  readonly #members: Expert[];
  #stack: ExpertStack;

  constructor(experts: readonly Expert[], sizes: ModuleSizes, { router, topK }: { router: Router; topK?: number }) {
    if (experts.length === 0) throw new PoolError({ what: "The pool has no experts.", fix: "Add one: skein pool add POOL EXPERT." });
    this.#router = router;
    this.#topK = topK ?? router.topK;
    this.#sizes = sizes;
    this.#members = [...experts];
    this.#stack = new ExpertStack(stackShapes(experts, sizes, router), router, experts);
  }

  get key(): string {
    return `routed ${this.#router.name} k=${this.#k} ${[...this.#stack.modules].map(([module, { rank, rows }]) => `${module}:${rank}:${rows}`).join()}`;
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

  /** Adds an expert; graphs stay as they are unless it brings a larger rank or a new module. */
  add(expert: Expert): void {
    this.#members.push(expert);
    if (this.#stack.fits(expert)) this.#stack.add(expert);
    else this.#stack = new ExpertStack(stackShapes(this.#members, this.#sizes, this.#router), this.#router, this.#members);
  }

  weave(graph: Graph, inner: Linear, onRoute?: (module: string, route: Route) => void): Linear {
    return routed(graph, inner, { router: this.#router, topK: this.#k, modules: this.#stack.modules, ...(onRoute ? { onRoute } : {}) });
  }
}
