/** @file Small graphs that change keys and values on the device. Each changes every buffer of a cache in one run:
 *
 *      write     from [rows, heads, capacity, size], new [rows, heads, tokens, size] -> the same rows with new tokens
 *      arrange   from, rows [n], slots [capacity]                                    -> these rows and slots of it
 *      join      from, with                                                          -> the rows of both
 *
 *  Only positions cross the bus. */

import { int64 } from "../base/tensor.ts";
import { equal, less, maxInt, not, where } from "../graph/ops/elementwise.ts";
import { concat, flattenRows, gather, range, reshape, transpose, unsqueeze } from "../graph/ops/movement.ts";
import { flattened } from "../graph/sizes.ts";
import type { Float, Graph } from "../graph/value.ts";
import type { DeviceTensor, Session, Tensor } from "../runtime/engine.ts";
import type { KvBuffer } from "./kv-store.ts";

/** Opens the session of a graph that keeps all of its outputs on the device. */
export type OpenKept = (name: string, build: (graph: Graph) => void, keep: readonly string[]) => Promise<Session>;

export class KvGraphs {
  readonly buffers: readonly KvBuffer[];
  readonly #open: OpenKept;
  readonly #sessions = new Map<string, Promise<Session>>();

  constructor(buffers: readonly KvBuffer[], open: OpenKept) {
    this.buffers = buffers;
    this.#open = open;
  }

  /** at[row]: the slot of the row's new token, -1 for none. fresh: [rows, heads, 1, size] */
  writeOne(from: readonly Tensor[], fresh: readonly Tensor[], at: readonly number[]): Promise<DeviceTensor[]> {
    return this.#run("kv write one", writeOne, { from, fresh }, { at: int64([at.length], at) });
  }
  /** source [rows * capacity]: the new token for each slot, counted over all rows of `fresh`, -1 for none. fresh: [rows, heads, tokens, size] */
  write(from: readonly Tensor[], fresh: readonly Tensor[], source: BigInt64Array, rows: number): Promise<DeviceTensor[]> {
    return this.#run("kv write", write, { from, fresh }, { source: int64([rows, source.length / rows], source) });
  }
  /** The rows with these numbers, of which slots after the last are repeated. */
  arrange(from: readonly Tensor[], rows: readonly number[], capacity: number): Promise<DeviceTensor[]> {
    const last = from[0]!.shape[2]! - 1;
    const slots = Array.from({ length: capacity }, (_, slot) => Math.min(slot, last));
    return this.#run("kv arrange", arrange, { from }, { rows: int64([rows.length], rows), slots: int64([capacity], slots) });
  }
  join(from: readonly Tensor[], fresh: readonly Tensor[]): Promise<DeviceTensor[]> {
    return this.#run("kv join", join, { from, fresh }, {});
  }

  async #run(
    name: string,
    build: (graph: Graph, buffer: KvBuffer, i: number) => Float,
    tensors: Readonly<Record<string, readonly Tensor[]>>,
    feeds: Readonly<Record<string, Tensor>>,
  ): Promise<DeviceTensor[]> {
    const outputs = this.buffers.map((_, i) => `out.${i}`);
    let session = this.#sessions.get(name);
    if (!session) {
      const whole = (graph: Graph) => {
        for (const [i, buffer] of this.buffers.entries()) graph.output(outputs[i]!, build(graph, buffer, i));
      };
      session = this.#open(name, whole, outputs);
      session.catch(() => this.#sessions.delete(name));
      this.#sessions.set(name, session);
    }
    const named = Object.entries(tensors).flatMap(([part, values]) => values.map((value, i) => [`${part}.${i}`, value] as const));
    const { kept } = await (await session).runKeeping({ ...feeds, ...Object.fromEntries(named) });
    return outputs.map((output) => kept[output]!);
  }
}

const from = (graph: Graph, { heads, size }: KvBuffer, i: number, rows = "rows", capacity = "capacity") =>
  graph.float(`from.${i}`, rows, heads, capacity, size);

function writeOne(graph: Graph, buffer: KvBuffer, i: number): Float {
  const old = from(graph, buffer, i);
  const isNew = equal(unsqueeze(range(graph, "capacity"), 0), unsqueeze(graph.int("at", "rows"), 1));
  return where(unsqueeze(isNew, 1, 3), graph.float(`fresh.${i}`, "rows", buffer.heads, 1, buffer.size), old);
}

function write(graph: Graph, buffer: KvBuffer, i: number): Float {
  const { heads, size } = buffer;
  const old = from(graph, buffer, i);
  const source = graph.int("source", "rows", "capacity");
  // Tokens become rows [rows * tokens, heads * size], so that one index chooses a token with all its heads.
  const byToken = transpose(graph.float(`fresh.${i}`, "rows", heads, "tokens", size), [0, 2, 1, 3]);
  const tokens = flattenRows(reshape(byToken, "rows", "tokens", heads * size));
  const chosen = gather(tokens, reshape(maxInt(source, 0), flattened(["rows", "capacity"])));
  const fresh = transpose(reshape(chosen, "rows", "capacity", heads, size), [0, 2, 1, 3]);
  return where(unsqueeze(not(less(source, 0)), 1, 3), fresh, old);
}

function arrange(graph: Graph, buffer: KvBuffer, i: number): Float {
  const all = from(graph, buffer, i, "old rows", "old capacity");
  return gather(gather(all, graph.int("rows", "rows")), graph.int("slots", "capacity"), 2);
}

function join(graph: Graph, buffer: KvBuffer, i: number): Float {
  const more = graph.float(`fresh.${i}`, "more rows", buffer.heads, "capacity", buffer.size);
  return concat([from(graph, buffer, i), more], 0, "all rows");
}
