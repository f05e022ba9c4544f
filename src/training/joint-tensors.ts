/** @file Where the tensors of experts that train at once lie side by side, and apart again: on the host, or on a device, where parameters and
 *  gradients stay. */

import { float32, type HostTensor } from "../base/tensor.ts";
import { createGraph } from "../graph/graph.ts";
import { concat, reshape, slice, unsqueeze } from "../graph/ops/movement.ts";
import type { Graph } from "../graph/value.ts";
import {
  type DeviceFeeds,
  type DeviceTensor,
  disposeAll,
  type Engine,
  type Results,
  type Session,
  type Tensor,
} from "../runtime/engine.ts";
import type { Feeds } from "../runtime/session.ts";
import { gradientName } from "./passes.ts";

/** The shapes of one expert's parameters. */
type Shapes = ReadonlyMap<string, readonly number[]>;
/** One expert's tensors by name. */
type Own = ReadonlyMap<string, Tensor>;

export interface JointTensors {
  /** What does not learn, side by side: [experts, ...]. The result is kept for the next call with the same experts. */
  frozen(experts: readonly Feeds[]): DeviceFeeds | Promise<DeviceFeeds>;
  /** The experts' parameters side by side: [experts, ...]. Valid until `release`, and until the next call. */
  parameters(experts: readonly Own[]): Stacked | Promise<Stacked>;
  /** Each expert's gradients of a training run of so many experts. */
  gradients(results: Results, experts: number): readonly Own[] | Promise<readonly Own[]>;
  dispose(): Promise<void>;
}
interface Stacked {
  readonly feeds: DeviceFeeds;
  release(): void;
}

/** On the host; the arrays are used again for the next run. */
export class HostJointTensors implements JointTensors {
  readonly #shapes: Shapes;
  readonly #arrays = new Map<string, Float32Array>();

  constructor(shapes: Shapes) {
    this.#shapes = shapes;
  }

  frozen(experts: readonly Feeds[]): DeviceFeeds {
    return sideBySide(experts, this.#arrays);
  }
  parameters(experts: readonly Own[]): Stacked {
    const feeds = sideBySide(
      experts.map((own) => Object.fromEntries(own) as Feeds),
      this.#arrays,
    );
    return { feeds, release: () => {} };
  }
  gradients({ fetched }: Results, experts: number): readonly Own[] {
    return Array.from({ length: experts }, (_, expert) => {
      const own = (name: string, shape: readonly number[]) => {
        const { data } = fetched[gradientName(name)] as HostTensor<"float32">;
        const length = data.length / experts;
        return float32(shape, data.subarray(expert * length, (expert + 1) * length));
      };
      return new Map([...this.#shapes].map(([name, shape]) => [name, own(name, shape)]));
    });
  }
  async dispose(): Promise<void> {}
}

/** On a device. Each number of experts has its own two small graphs. */
export class DeviceJointTensors implements JointTensors {
  readonly #engine: Engine;
  readonly #shapes: Shapes;
  readonly #sessions = new Map<string, Promise<Session>>();
  #frozen: { readonly of: readonly Feeds[]; readonly feeds: Readonly<Record<string, DeviceTensor>> } | undefined;

  constructor(engine: Engine, shapes: Shapes) {
    this.#engine = engine;
    this.#shapes = shapes;
  }

  async frozen(experts: readonly Feeds[]): Promise<DeviceFeeds> {
    const known = this.#frozen;
    if (known && known.of.length === experts.length && known.of.every((own, i) => own === experts[i])) return known.feeds;
    this.#letGo();
    const feeds: Record<string, DeviceTensor> = {};
    this.#frozen = { of: experts, feeds };
    try {
      for (const [name, tensor] of Object.entries(sideBySide(experts))) feeds[name] = await this.#engine.upload(tensor);
    } catch (error) {
      this.#letGo();
      throw error;
    }
    return feeds;
  }

  async parameters(experts: readonly Own[]): Promise<Stacked> {
    const count = experts.length;
    const session = await this.#session(`beside ${count}`, besideGraph(this.#shapes, count), [...this.#shapes.keys()]);
    const { kept } = await session.runKeeping(Object.assign({}, ...experts.map((own, i) => numbered(own, i))));
    return { feeds: kept, release: () => disposeAll(Object.values(kept)) };
  }

  async gradients({ kept }: Results, experts: number): Promise<readonly Own[]> {
    const names = [...this.#shapes.keys()];
    const numbers = [...Array(experts).keys()];
    const outputs = numbers.flatMap((expert) => names.map((name) => `${expert} ${name}`));
    try {
      const session = await this.#session(`apart ${experts}`, apartGraph(this.#shapes, experts), outputs);
      const { kept: own } = await session.runKeeping(Object.fromEntries(names.map((name) => [name, kept[gradientName(name)]!])));
      return numbers.map((expert) => new Map(names.map((name) => [name, own[`${expert} ${name}`]!])));
    } finally {
      disposeAll(Object.values(kept));
    }
  }

  async dispose(): Promise<void> {
    this.#letGo();
    for (const session of this.#sessions.values())
      await session.then(
        (opened) => opened.dispose(),
        () => {},
      );
    this.#sessions.clear();
  }

  #letGo(): void {
    if (this.#frozen) disposeAll(Object.values(this.#frozen.feeds));
    this.#frozen = undefined;
  }

  #session(key: string, graph: () => Graph, keep: readonly string[]): Promise<Session> {
    const known = this.#sessions.get(key) ?? this.#engine.load(graph(), { keep });
    this.#sessions.set(key, known);
    known.catch(() => this.#sessions.delete(key));
    return known;
  }
}

/** Tensors of the same names side by side; `arrays` are written again if they have the size. */
function sideBySide(experts: readonly Feeds[], arrays = new Map<string, Float32Array>()): Feeds {
  const feeds: Record<string, HostTensor> = {};
  for (const [name, { shape, data: first }] of Object.entries(experts[0]!)) {
    const length = first.length * experts.length;
    const known = arrays.get(name);
    const array = known?.length === length ? known : new Float32Array(length);
    arrays.set(name, array);
    for (const [i, own] of experts.entries()) array.set((own[name] as HostTensor<"float32">).data, i * first.length);
    feeds[name] = float32([experts.length, ...shape], array);
  }
  return feeds;
}

function numbered(own: Own, expert: number): Record<string, Tensor> {
  return Object.fromEntries([...own].map(([name, tensor]) => [`${expert} ${name}`, tensor]));
}

function besideGraph(shapes: Shapes, experts: number): () => Graph {
  return () => {
    const graph = createGraph(`parameters of ${experts} experts`);
    for (const [name, shape] of shapes) {
      const own = Array.from({ length: experts }, (_, expert) => unsqueeze(graph.float(`${expert} ${name}`, ...shape), 0));
      graph.output(name, concat(own, 0));
    }
    return graph;
  };
}

function apartGraph(shapes: Shapes, experts: number): () => Graph {
  return () => {
    const graph = createGraph(`gradients of ${experts} experts`);
    for (const [name, shape] of shapes) {
      const all = graph.float(name, experts, ...shape);
      for (let expert = 0; expert < experts; expert++)
        graph.output(`${expert} ${name}`, reshape(slice(all, 0, expert, expert + 1), ...shape));
    }
    return graph;
  };
}
