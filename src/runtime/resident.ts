/** @file Copies on the device of host tensors that are fed many times and never change: experts and adapters.
 *
 *  A copy is made when its tensor is first fed, and stays while somebody holds the tensor. A stack of experts that grew in place shares its
 *  numbers with the stack before it (routing/records.ts): then only the new rows cross the bus, and the others are copied on the device. */

import { elements, type HostTensor, int64 } from "../base/tensor.ts";
import { createGraph } from "../graph/graph.ts";
import { concat, gather } from "../graph/ops/movement.ts";
import type { DType } from "../graph/sizes.ts";
import type { Graph } from "../graph/value.ts";
import type { DeviceFeeds, DeviceTensor, Engine, Feeds, Session } from "./engine.ts";

interface Entry {
  users: number;
  copy?: Promise<DeviceTensor>;
}

export class ResidentFeeds {
  readonly #engine: Engine;
  readonly #entries = new Map<HostTensor, Entry>();
  /** The last tensor that was copied from each array. */
  readonly #latest = new WeakMap<ArrayBufferLike, HostTensor>();
  readonly #sessions = new Map<string, Promise<Session>>();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Keeps the copies of these tensors, now or as soon as they are made, until the returned function is called. */
  hold(feeds: Feeds): () => void {
    const tensors = Object.values(feeds);
    for (const tensor of tensors) {
      const entry = this.#entries.get(tensor) ?? { users: 0 };
      entry.users++;
      this.#entries.set(tensor, entry);
    }
    return () => {
      for (const tensor of tensors.splice(0)) this.#release(tensor);
    };
  }

  /** The copies of tensors that somebody holds. */
  async copies(feeds: Feeds): Promise<DeviceFeeds> {
    const copies: Record<string, DeviceTensor> = {};
    for (const [name, tensor] of Object.entries(feeds)) copies[name] = await this.#copyOf(tensor);
    return copies;
  }

  /** Frees everything. */
  async dispose(): Promise<void> {
    for (const { copy } of this.#entries.values()) void copy?.then(disposeOf, () => {});
    this.#entries.clear();
    for (const session of this.#sessions.values()) await (await session).dispose();
    this.#sessions.clear();
  }

  #release(tensor: HostTensor): void {
    const entry = this.#entries.get(tensor);
    if (!entry) return;
    entry.users--;
    if (entry.users > 0) return;
    this.#entries.delete(tensor);
    void entry.copy?.then(disposeOf, () => {});
  }

  #copyOf(tensor: HostTensor): Promise<DeviceTensor> {
    const entry = this.#entries.get(tensor)!;
    if (!entry.copy) {
      entry.copy = this.#made(tensor);
      entry.copy.catch(() => delete entry.copy); // the next run tries again
    }
    return entry.copy;
  }

  async #made(tensor: HostTensor): Promise<DeviceTensor> {
    const known = this.#latest.get(tensor.data.buffer);
    this.#latest.set(tensor.data.buffer, tensor);
    const entry = known && this.#entries.get(known);
    if (!known || !entry?.copy) return this.#engine.upload(tensor);
    entry.users++; // so that the copy stays until it is read
    try {
      return await this.#grown(await entry.copy, sharedRows(known, tensor), tensor);
    } finally {
      this.#release(known);
    }
  }

  /** A copy whose first rows are those of another. */
  async #grown(old: DeviceTensor, shared: number, tensor: HostTensor): Promise<DeviceTensor> {
    if (shared === 0) return this.#engine.upload(tensor);
    const [rows = 0, ...rest] = tensor.shape;
    const index = int64([shared], [...Array(shared).keys()]);
    if (shared === rows) return this.#run("rows", old, { index });
    const data = (tensor.data as Float32Array).subarray(shared * elements(rest));
    const fresh = { dtype: tensor.dtype, shape: [rows - shared, ...rest], data };
    return this.#run("joined", old, { index, fresh });
  }

  async #run(kind: "rows" | "joined", old: DeviceTensor, feeds: Feeds): Promise<DeviceTensor> {
    const key = `${kind} ${old.dtype} ${old.shape.length}`;
    let session = this.#sessions.get(key);
    if (!session) {
      session = this.#engine.load(grownGraph(kind, old), { keep: ["y"] });
      session.catch(() => this.#sessions.delete(key));
      this.#sessions.set(key, session);
    }
    const { kept } = await (await session).runKeeping({ ...feeds, old });
    return kept.y!;
  }
}

/** How many first rows two views of one array have in common, if they begin at the same place. */
function sharedRows(old: HostTensor, tensor: HostTensor): number {
  const isAlike = old.dtype === tensor.dtype && String(old.shape.slice(1)) === String(tensor.shape.slice(1));
  if (!isAlike || old.data.byteOffset !== tensor.data.byteOffset) return 0;
  return Math.min(old.shape[0] ?? 0, tensor.shape[0] ?? 0);
}

/** y = the rows of old that the index names, then fresh. */
function grownGraph(kind: "rows" | "joined", { dtype, shape }: DeviceTensor): Graph {
  const graph = createGraph(`resident ${kind}`);
  const rest = Array.from({ length: shape.length - 1 }, (_, axis) => `size ${axis}`);
  const rows = gather(graph.input("old", dtype as DType, ["old", ...rest]), graph.int("index", "kept"));
  graph.output("y", kind === "rows" ? rows : concat([rows, graph.input("fresh", dtype as DType, ["fresh", ...rest])], 0, "all"));
  return graph;
}

function disposeOf(tensor: DeviceTensor): void {
  tensor.dispose();
}
