/** @file A model ready to compute: a base checkpoint, what is woven into it, and the sessions that run them. */

import type { ModuleSizes } from "../adapters/modules.ts";
import { ShapeError } from "../base/errors.ts";
import type { HostTensor } from "../base/tensor.ts";
import { type Checkpoint, openCheckpoint } from "../checkpoint/checkpoint.ts";
import { createGraph } from "../graph/graph.ts";
import type { Graph } from "../graph/value.ts";
import { resolveModel } from "../hub/resolve-model.ts";
import type { Architecture } from "../models/architecture.ts";
import { baseSeams } from "../models/embedding.ts";
import { logitsOf, tracedModules } from "../models/logits.ts";
import { architectureOf } from "../models/registry.ts";
import { fileWeights } from "../models/weights.ts";
import { ROW_BIAS } from "../routing/mixture.ts";
import type { Route } from "../routing/router.ts";
import { type Feeds, Session, type SessionOptions } from "../runtime/session.ts";
import { type Batch, type BatchFeeds, batchFeeds } from "./batch.ts";
import { type Overlay, plain } from "./overlay.ts";

/** A module's route on the host: experts int64 and weights float32, [batch, sequence, k]. */
export interface HostRoute {
  readonly experts: HostTensor<"int64">;
  readonly weights: HostTensor<"float32">;
}
export interface ForwardResult {
  /** float32 [batch, sequence or targets, vocabulary] */
  readonly logits: HostTensor<"float32">;
  readonly routes?: ReadonlyMap<string, HostRoute>;
}

/** A base model with its sessions. Owns native memory: `await using` or `dispose` it. */
export class Model {
  readonly checkpoint: Checkpoint;
  readonly architecture: Architecture;
  /** Every projection and every table of embeddings: module path -> sizes. */
  readonly modules: ModuleSizes;
  /** What is woven in; change it at any time. */
  overlay: Overlay = plain;
  readonly #options: SessionOptions;
  readonly #sessions = new Map<string, Promise<Session>>();

  constructor(checkpoint: Checkpoint, options: SessionOptions = {}) {
    this.checkpoint = checkpoint;
    this.architecture = architectureOf(checkpoint);
    this.modules = modulesOf(checkpoint, this.architecture);
    this.#options = options;
  }

  /** The session of the graph that `build` makes for the present overlay, built once per name and overlay key. */
  session(name: string, build: (graph: Graph) => void): Promise<Session> {
    const key = `${name} | ${this.overlay.key}`;
    let session = this.#sessions.get(key);
    if (!session) {
      const graph = createGraph(name);
      build(graph);
      session = Session.load(graph, this.#options);
      session.catch(() => this.#sessions.delete(key)); // a failed load is not kept: disposing would throw its error again
      this.#sessions.set(key, session);
    }
    return session;
  }

  /** The base's weights, and its projections and embeddings with the overlay woven in, for the graphs built here. */
  parts(graph: Graph, onRoute?: (module: string, route: Route) => void) {
    const weights = fileWeights(graph, this.checkpoint);
    return { weights, ...this.overlay.weave(graph, baseSeams(weights), onRoute) };
  }

  /** Logits of every position and, when asked for, each module's route. */
  async forward(batch: Batch, { routes = false }: { routes?: boolean } = {}): Promise<ForwardResult> {
    const modules: string[] = [];
    const session = await this.session(routes ? "forward with routes" : "forward", (graph) => {
      const onRoute = (module: string, route: Route) => {
        graph.output(`routes.${module}.experts`, route.experts);
        graph.output(`routes.${module}.weights`, route.weights);
      };
      graph.output("logits", logitsOf(graph, this.architecture, this.parts(graph, routes ? onRoute : undefined)));
    });
    const feeds = batchFeeds(batch, this.architecture);
    const rows = await rowFeedsOf(this.overlay, batch, feeds);
    const results = await session.run({ ...this.overlay.feeds, ...rows, ...feeds });
    const logits = results.logits as HostTensor<"float32">;
    if (!routes) return { logits };
    for (const name of session.outputs) if (name.endsWith(".experts")) modules.push(name.slice("routes.".length, -".experts".length));
    const read = <T>(name: string) => results[name] as T;
    return {
      logits,
      routes: new Map(modules.map((m) => [m, { experts: read(`routes.${m}.experts`), weights: read(`routes.${m}.weights`) }])),
    };
  }

  async dispose(): Promise<void> {
    for (const session of this.#sessions.values()) await (await session).dispose();
    this.#sessions.clear();
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }
}

/** The modules of the architecture, with the weights that the checkpoint has for them. */
function modulesOf({ tensors }: Checkpoint, architecture: Architecture): ModuleSizes {
  const traced = [...tracedModules(architecture)];
  return new Map(
    traced.map(([module, { tensor = `${module}.weight`, ...size }]) => {
      const weight = tensors.get(tensor);
      return [module, { ...size, ...(weight && { weight }) }];
    }),
  );
}

/** Opens the base model in a folder, in the Hugging Face cache, or on the Hub. */
export async function loadModel(base: string, options: SessionOptions = {}): Promise<Model> {
  return new Model(await openCheckpoint(await resolveModel(base)), options);
}

/** What the rows of a batch choose for themselves: as the batch says, or as the overlay finds. */
async function rowFeedsOf(overlay: Overlay, { routingBias }: Batch, feeds: BatchFeeds): Promise<Feeds> {
  if (!routingBias) return (await overlay.rowFeeds?.({ inputIds: feeds.input_ids, attentionMask: feeds.attention_mask })) ?? {};
  if (!overlay.rowFeeds) {
    const fix = "Open the pool with rows that choose: new RoutedPool(experts, sizes, { router, rows: openRows }).";
    throw new ShapeError({ what: "The batch holds a routing bias, but no row of this overlay chooses for itself.", fix });
  }
  const expected = [feeds.input_ids.shape[0], overlay.experts.length];
  if (String(routingBias.shape) !== String(expected)) {
    throw new ShapeError({ what: `routingBias is [${routingBias.shape}], not [${expected}].`, fix: "Give one number per row and expert." });
  }
  return { [ROW_BIAS]: routingBias };
}
