/** @file A runner computes a base. It holds the sessions of the graphs that were built for it.
 *
 *  A graph is built once for each kind of computation and each `Woven` key. Sessions are counted while they are in
 *  use. Above a limit, the least recently used sessions are disposed. */

import { OptionError } from "../base/errors.ts";
import type { HostTensor } from "../base/tensor.ts";
import { createGraph } from "../graph/graph.ts";
import type { Graph } from "../graph/value.ts";
import { logitsOf } from "../models/logits.ts";
import { routedModules, routeNames } from "../routing/route-names.ts";
import type { DeviceFeeds, Engine } from "../runtime/engine.ts";
import { ResidentFeeds } from "../runtime/resident.ts";
import { type Feeds, type Fetches, Session, type SessionOptions } from "../runtime/session.ts";
import type { Base, GraphParts } from "./base.ts";
import type { Batch } from "./batch.ts";
import { batchFeeds } from "./batch.ts";
import { rowFeedsOf } from "./row-feeds.ts";
import type { OnRoute, Woven } from "./woven.ts";

/** A module's route on the host: experts int64 and weights float32, [batch, sequence, k]. */
export interface HostRoute {
  readonly experts: HostTensor<"int64">;
  readonly weights: HostTensor<"float32">;
}
/** The result of a forward pass. */
export interface ForwardResult {
  /** float32 [batch, sequence or targets, vocabulary] */
  readonly logits: HostTensor<"float32">;
  readonly routes?: ReadonlyMap<string, HostRoute>;
}

/** The kind of a graph, with every option that changes it: { graph: "decode", routes: true }. */
export interface GraphKind {
  readonly graph: string;
  readonly [choice: string]: string | number | boolean;
}

/** Builds a graph. `parts`: the base with its woven-in changes. `onRoute` is called with each module's route. */
export type BuildGraph = (graph: Graph, parts: (onRoute?: OnRoute) => GraphParts) => void;

/** The device of a model, and the number of sessions it keeps. */
export interface RunnerOptions extends SessionOptions {
  /** Sessions kept for later use. Default 16. Those in use are never disposed. */
  readonly sessions?: number;
}

/** The feeds of a woven value, where the engine reads them fastest, until they are released. */
export interface LentFeeds {
  readonly feeds: DeviceFeeds;
  release(): void;
}

/** A session that is kept until it is released. */
export interface Lease {
  readonly session: Session;
  release(): void;
}

interface Kept {
  readonly wovenKey: string;
  readonly session: Promise<Session>;
  users: number;
  /** Called when the last user releases the session, if a caller waits for that. */
  onIdle?: () => void;
}

const SESSIONS = 16;

/** Owns native memory: `await using` or `dispose` it. */
export class Runner {
  readonly base: Base;
  /** The engine that runs its graphs. */
  readonly engine: Engine;
  readonly #options: SessionOptions;
  readonly #limit: number;
  /** The least recently used is first. */
  readonly #kept = new Map<string, Kept>();
  readonly #holders = new Map<string, number>();
  readonly #atEnd: (() => void)[] = [];
  /** Where the engine has its own memory. */
  readonly #resident: ResidentFeeds | undefined;
  #built = 0;
  #isDisposed = false;

  constructor(base: Base, { sessions = SESSIONS, ...options }: RunnerOptions = {}) {
    this.base = base;
    this.engine = options.engine ?? base.engine;
    this.#options = options;
    if (this.engine.capabilities.deviceTensors) this.#resident = new ResidentFeeds(this.engine);
    this.#limit = Math.max(1, sessions);
  }

  /** The number of sessions built so far, and of those that exist now. */
  get counts(): { readonly built: number; readonly kept: number } {
    return { built: this.#built, kept: this.#kept.size };
  }

  /** The session of this kind of graph for `woven`, built at the first call. Release it when it is no longer needed. `keep`: the outputs that
   *  stay on the device, which depend on the kind and the engine alone. */
  async lease(kind: GraphKind, woven: Woven, build: BuildGraph, keep: readonly string[] = []): Promise<Lease> {
    if (this.#isDisposed) throw disposed();
    const key = `${JSON.stringify(Object.entries(kind).sort(([a], [b]) => (a < b ? -1 : 1)))} | ${woven.key}`;
    const kept = this.#kept.get(key) ?? { wovenKey: woven.key, session: this.#load(kind, woven, build, keep), users: 0 };
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    kept.users++;
    try {
      const session = await kept.session;
      this.#evict();
      return { session, release: leaving(() => this.#leave(kept)) };
    } catch (error) {
      if (this.#kept.get(key) === kept) this.#kept.delete(key);
      this.#leave(kept);
      throw error;
    }
  }

  /** Runs `use` with the session of this kind of graph for `woven`. */
  async session<T>(kind: GraphKind, woven: Woven, build: BuildGraph, use: (session: Session) => Promise<T>): Promise<T> {
    const { session, release } = await this.lease(kind, woven, build);
    try {
      return await use(session);
    } finally {
      release();
    }
  }

  /** The feeds of a woven value. They cross the bus once while somebody holds the value (`hold`) or has them. */
  async lend({ feeds }: Woven): Promise<LentFeeds> {
    if (!this.#resident) return { feeds, release: () => {} };
    const release = this.#resident.hold(feeds);
    try {
      return { feeds: await this.#resident.copies(feeds), release };
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Runs a session of a graph for `woven` with the feeds of `woven` and these. */
  async run(session: Session, woven: Woven, feeds: Feeds): Promise<Readonly<Record<string, HostTensor>>> {
    const lent = await this.lend(woven);
    try {
      return await session.run({ ...lent.feeds, ...feeds });
    } finally {
      lent.release();
    }
  }

  /** Logits of every position and, on request, each module's route. */
  async forward(woven: Woven, batch: Batch, { routes = false }: { readonly routes?: boolean } = {}): Promise<ForwardResult> {
    const { architecture } = this.base;
    const own = batchFeeds(batch, architecture);
    return this.session(
      { graph: "forward", routes },
      woven,
      (graph, parts) => {
        const onRoute: OnRoute = (module, route) => {
          const names = routeNames(module);
          graph.output(names.experts, route.experts);
          graph.output(names.weights, route.weights);
        };
        graph.output("logits", logitsOf(graph, architecture, parts(routes ? onRoute : undefined)));
      },
      async (session) => {
        const results = await this.run(session, woven, { ...(await rowFeedsOf(woven, batch, own)), ...own });
        const logits = results.logits as HostTensor<"float32">;
        if (!routes) return { logits };
        return { logits, routes: new Map(routedModules(session.outputs).map((module) => [module, routeIn(results, module)])) };
      },
    );
  }

  /** Keeps the sessions and device copies of `woven` until the last holder releases them. */
  hold(woven: Woven): () => Promise<void> {
    const { key } = woven;
    const letGo = this.#resident?.hold(woven.feeds);
    this.#holders.set(key, (this.#holders.get(key) ?? 0) + 1);
    let isHeld = true;
    return async () => {
      if (!isHeld) return;
      isHeld = false;
      letGo?.();
      const left = this.#holders.get(key)! - 1;
      if (left > 0) this.#holders.set(key, left);
      else {
        this.#holders.delete(key);
        await this.#disposeAll(([, { wovenKey }]) => wovenKey === key);
      }
    };
  }

  /** Calls `free` when the runner is disposed. */
  whenDisposed(free: () => void): void {
    this.#atEnd.push(free);
  }

  /** Disposes every session after its last user. */
  async dispose(): Promise<void> {
    this.#isDisposed = true;
    await this.#disposeAll(() => true);
    for (const free of this.#atEnd.splice(0)) free();
    await this.#resident?.dispose();
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  async #load(kind: GraphKind, woven: Woven, build: BuildGraph, keep: readonly string[]): Promise<Session> {
    const graph = createGraph(kind.graph);
    build(graph, (onRoute) => partsOf(this.base, woven, graph, onRoute));
    this.#built++;
    return Session.load(graph, { half: this.base.precision === "float16", ...this.#options, engine: this.engine, keep });
  }

  #leave(kept: Kept): void {
    kept.users--;
    if (kept.users === 0) kept.onIdle?.();
    this.#evict();
  }

  #evict(): void {
    for (const [key, kept] of this.#kept) {
      if (this.#kept.size <= this.#limit) return;
      if (kept.users > 0) continue;
      this.#kept.delete(key);
      void disposeOf(kept);
    }
  }

  async #disposeAll(chosen: (entry: readonly [string, Kept]) => boolean): Promise<void> {
    const leaving = [...this.#kept].filter(chosen);
    for (const [key] of leaving) this.#kept.delete(key);
    await Promise.all(
      leaving.map(async ([, kept]) => {
        if (kept.users > 0) await new Promise<void>((resolve) => (kept.onIdle = resolve));
        await disposeOf(kept);
      }),
    );
  }
}

/** The base's weights, and its projections and embeddings with `woven` applied. */
export function partsOf(base: Base, woven: Woven, graph: Graph, onRoute?: OnRoute): GraphParts {
  const seams = base.seams(graph);
  return { ...seams, ...woven.weave(graph, seams, onRoute) };
}

/** The caller that opened the session has already received the error. */
async function disposeOf({ session }: Kept): Promise<void> {
  const loaded = await session.catch(() => undefined);
  await loaded?.dispose();
}

/** Calls `leave` once: later calls do nothing. */
function leaving(leave: () => void): () => void {
  let hasLeft = false;
  return () => {
    if (hasLeft) return;
    hasLeft = true;
    leave();
  };
}

function disposed(): OptionError {
  return new OptionError({
    code: "option-disposed",
    what: "The model was disposed.",
    fix: "Dispose the model from loadModel last, after every model made from it.",
  });
}

/** A module's route from a run's fetches. */
function routeIn(fetches: Fetches, module: string): HostRoute {
  const names = routeNames(module);
  return { experts: fetches[names.experts] as HostTensor<"int64">, weights: fetches[names.weights] as HostTensor<"float32"> };
}
