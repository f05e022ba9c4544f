/** @file The graphs of a decoder for one model, ready to run. */

import type { HostTensor } from "../base/tensor.ts";
import type { Graph } from "../graph/value.ts";
import type { Model } from "../inference/model.ts";
import type { GraphKind, Lease, LentFeeds } from "../inference/runner.ts";
import { feedsOfRows, plain, type Woven } from "../inference/woven.ts";
import type { DeviceFeeds, Results } from "../runtime/engine.ts";
import type { Feeds, Session } from "../runtime/session.ts";
import { type Logits, readLogits, rowsOf } from "./candidates.ts";
import { buildDecode, buildEncode, crossBuffers, type DecodePlan, fetchRoutes, planOf } from "./decoder-graphs.ts";
import { DeviceKvCache } from "./device-kv-cache.ts";
import { KvCache } from "./kv-cache.ts";
import { KvGraphs } from "./kv-graphs.ts";
import type { KvBuffer, KvStore } from "./kv-store.ts";
import { graphWork, type PromptWork } from "./prompt-reading.ts";

export interface Program {
  readonly decode: Session;
  /** Only for models with an encoder. */
  readonly encode: Session | undefined;
  /** Fed in every run. */
  readonly feeds: DeviceFeeds;
  /** The feeds of rows with these choices. */
  readonly feedsOf: (choices: Feeds) => Feeds;
  /** Whether runs take the choices of rows. */
  readonly takesRows: boolean;
  /** Releases the sessions. */
  close(): void;
}

/** The programs of one decoder: that of its model, which computes rows of every kind together, and those of rows that have a cheaper one
 *  while they are among themselves. Each is opened when it is first needed. */
export class Programs {
  readonly plan: DecodePlan;
  readonly hasEncoder: boolean;
  readonly vocabularySize: number;
  /** Whether each module's route is fetched. */
  readonly routes: boolean;
  /** Whether keys, values and logits stay on the device. */
  readonly keeps: boolean;
  readonly #model: Model;
  readonly #caches: Readonly<Record<"past" | "cross", KvGraphs>>;
  readonly #best = new Map<number, Promise<Session>>();
  readonly #leases: Lease[] = [];
  readonly #programs = new Map<string, Promise<Program>>();
  readonly #open = new Set<string>();
  #isClosed = false;

  constructor(model: Model, routes: boolean) {
    const { architecture } = model.base;
    this.plan = planOf(architecture);
    this.vocabularySize = architecture.vocabularySize;
    this.hasEncoder = architecture.kind === "encoder-decoder";
    this.routes = routes;
    this.keeps = model.runner.engine.capabilities.deviceTensors;
    this.#model = model;
    const graphs = (cache: string, buffers: readonly KvBuffer[]) =>
      new KvGraphs(buffers, (graph, build, keep) => this.#leased({ graph, cache }, build, keep));
    this.#caches = { past: graphs("past", this.plan.past), cross: graphs("cross", crossBuffers(this.plan)) };
  }

  /** The session of a small graph, until the programs are closed. */
  async #leased(kind: GraphKind, build: (graph: Graph) => void, keep: readonly string[] = []): Promise<Session> {
    const lease = await this.#model.runner.lease(kind, plain, build, keep);
    if (this.#isClosed) lease.release();
    else this.#leases.push(lease);
    return lease.session;
  }

  /** Each row's logits after a run of `decode`, or at least the best `needed` of them; of none, undefined. Those on the device stay there. */
  async logits({ fetched, kept }: Results, needed: number): Promise<((row: number) => Logits) | undefined> {
    if (!this.keeps) return rowsOf(fetched.logits as HostTensor<"float32">);
    if (needed === 0) return undefined;
    return readLogits(kept.logits!, needed, (k, build) => {
      const known = this.#best.get(k) ?? this.#leased({ graph: "candidates", k }, build);
      this.#best.set(k, known);
      known.catch(() => this.#best.delete(k));
      return known;
    });
  }

  /** An empty cache: of the tokens that a decoder has read, or of the encoder's output. */
  cache(of: "past" | "cross"): KvStore {
    const options = of === "past" ? { lengths: "cache_lengths" } : { complete: true };
    const graphs = this.#caches[of];
    return this.keeps ? new DeviceKvCache(graphs, options) : new KvCache(graphs.buffers, options);
  }

  /** The program of rows that are all of this kind; without a kind, of any rows. `work`: what it computes from prompts. */
  of(alone: Woven | undefined, work?: PromptWork): Promise<Program> {
    const id = idOf(alone, work);
    const known = this.#programs.get(id);
    if (known) return known;
    const program = openProgram(alone ? { ...this.#model, woven: alone } : this.#model, this.routes, work && graphWork(work));
    this.#programs.set(id, program);
    program.then(
      ({ close }) => {
        this.#open.add(id);
        if (this.#isClosed) close();
      },
      () => this.#programs.delete(id), // the caller has the error
    );
    return program;
  }
  isOpen(alone: Woven | undefined): boolean {
    return this.#open.has(idOf(alone));
  }

  /** Releases the sessions. */
  close(): void {
    this.#isClosed = true;
    for (const id of this.#open) void this.#programs.get(id)!.then(({ close }) => close());
    for (const { release } of this.#leases) release();
  }
}

const idOf = (alone: Woven | undefined, work?: PromptWork) => `${alone?.id ?? ""} ${work ? JSON.stringify(graphWork(work)) : ""}`;

/** The kind of rows that are all of one kind; undefined for others. */
export function kindOf(rows: readonly { readonly alone: Woven | undefined }[]): Woven | undefined {
  const first = rows[0]?.alone;
  return first && rows.every(({ alone }) => alone?.id === first.id) ? first : undefined;
}

async function openProgram({ base: { architecture }, runner, woven }: Model, routes: boolean, work?: PromptWork): Promise<Program> {
  const plan = planOf(architecture);
  const kept = (buffers: readonly KvBuffer[], ...others: readonly string[]) =>
    runner.engine.capabilities.deviceTensors ? [...buffers.map(({ fetched }) => fetched), ...others] : [];
  const leases: Lease[] = [];
  const lent: LentFeeds[] = [];
  const close = () => {
    for (const { release } of [...leases, ...lent]) release();
  };
  const leased = async (...graph: Parameters<typeof runner.lease>): Promise<Session> => {
    const lease = await runner.lease(...graph);
    leases.push(lease);
    return lease.session;
  };
  try {
    const encode =
      architecture.kind === "encoder-decoder"
        ? await leased(
            { graph: "encode", routes },
            woven,
            (graph, parts) => buildEncode(graph, architecture, parts(routes ? fetchRoutes(graph) : undefined)),
            kept(crossBuffers(plan)),
          )
        : undefined;
    const kind = { graph: "decode", routes, ...(work && { work: JSON.stringify(work) }) };
    const decode = await leased(
      kind,
      woven,
      (graph, parts) => buildDecode(graph, architecture, parts(routes ? fetchRoutes(graph) : undefined), plan, work),
      kept(plan.past, "logits"),
    );
    const feedsOf = (choices: Feeds) => feedsOfRows(woven, choices);
    const standing = await runner.lend(woven);
    lent.push(standing);
    return { decode, encode, feeds: standing.feeds, takesRows: woven.chooseRows !== undefined, feedsOf, close };
  } catch (error) {
    close();
    throw error;
  }
}
