/** @file AdamW on the device (the equations are in adamw.ts). Parameters, moments and gradients never leave it: a step fetches only the global
 *  norm of the gradients. Its arithmetic is float32, where the host's is float64 between loads and stores. */

import { float32, type HostTensor } from "../base/tensor.ts";
import { createGraph } from "../graph/graph.ts";
import { add, div, min, mul, sqrt, square, sub } from "../graph/ops/elementwise.ts";
import { reduceSum } from "../graph/ops/reduce.ts";
import type { Float, Graph } from "../graph/value.ts";
import { type DeviceFeeds, type DeviceTensor, disposeAll, type Engine, type Session, type Tensor } from "../runtime/engine.ts";
import { type AdamWOptions, withDefaults } from "./adamw.ts";
import type { Parameters } from "./learner.ts";
import { CLIP_EPSILON, type Optimizer, type OptimizerState, type ParameterState, type Update } from "./optimizer.ts";

type Shapes = ReadonlyMap<string, readonly number[]>;
type OnDevice = Map<string, DeviceTensor>;
const PARTS = ["value", "m", "v"] as const;
type Part = (typeof PARTS)[number];

/** The settings that change from step to step, as scalars. */
const SETTINGS = ["share", "clip", "step size", "correction", "decay"] as const;
const LARGEST = 1e30; // for no clipping: a device need not compute with infinity

export class DeviceOptimizer implements Optimizer {
  readonly #engine: Engine;
  readonly #shapes: Shapes;
  readonly #state: Readonly<Record<Part, OnDevice>> = { value: new Map(), m: new Map(), v: new Map() };
  #sums: ReadonlyMap<string, Tensor> = new Map();
  #share = 1;
  #stepping: Promise<Session> | undefined;
  #adding: Promise<Session> | undefined;

  private constructor(engine: Engine, shapes: Shapes) {
    this.#engine = engine;
    this.#shapes = shapes;
  }

  static async of(engine: Engine, initial: Parameters): Promise<DeviceOptimizer> {
    const optimizer = new DeviceOptimizer(engine, new Map([...initial].map(([name, { shape }]) => [name, shape])));
    await optimizer.load(new Map([...initial].map(([name, value]) => [name, { value, m: float32(value.shape), v: float32(value.shape) }])));
    return optimizer;
  }

  get parameters(): ReadonlyMap<string, Tensor> {
    return this.#state.value;
  }

  async add(gradients: ReadonlyMap<string, Tensor>, share: number): Promise<void> {
    this.#share = share;
    if (this.#sums.size === 0) {
      this.#sums = gradients;
      return;
    }
    const old = this.#sums;
    const names = [...this.#shapes.keys()];
    try {
      this.#adding ??= this.#engine.load(addingGraph(this.#shapes), { keep: names });
      const { kept } = await (await this.#adding).runKeeping({ ...named("a", old), ...named("b", gradients) });
      this.#sums = new Map(Object.entries(kept));
    } finally {
      disposeAll(old.values());
      disposeAll(gradients.values());
    }
  }

  async step({ step, lr, clip, adamw }: Update): Promise<number> {
    const sums = this.#sums;
    this.#sums = new Map();
    try {
      const outputs = [...this.#shapes.keys()].flatMap((name) => PARTS.map((part) => `new ${part} ${name}`));
      this.#stepping ??= this.#engine.load(steppingGraph(this.#shapes, adamw), { keep: outputs });
      const { beta1, beta2, weightDecay } = withDefaults(adamw);
      const settings: Record<(typeof SETTINGS)[number], number> = {
        share: this.#share,
        clip: Math.min(clip, LARGEST),
        "step size": lr / (1 - beta1 ** step),
        correction: Math.sqrt(1 - beta2 ** step),
        decay: 1 - lr * weightDecay,
      };
      const state = PARTS.map((part) => named(part, this.#state[part]));
      const scalars = Object.entries(settings).map(([name, number]) => [name, float32([], [number])] as const);
      const feeds: DeviceFeeds = Object.assign({}, ...state, named("gradient", sums), Object.fromEntries(scalars));
      const { fetched, kept } = await (await this.#stepping).runKeeping(feeds);
      const norm = Number(fetched.norm!.data[0]);
      if (Number.isFinite(norm)) this.#replace((part, name) => kept[`new ${part} ${name}`]!);
      else disposeAll(Object.values(kept));
      return norm;
    } finally {
      disposeAll(sums.values());
    }
  }

  async read(): Promise<OptimizerState> {
    const state = new Map<string, ParameterState>();
    for (const name of this.#shapes.keys()) {
      const read = async (part: Part) => (await this.#state[part].get(name)!.read()) as HostTensor<"float32">;
      state.set(name, { value: await read("value"), m: await read("m"), v: await read("v") });
    }
    return state;
  }

  async load(state: OptimizerState): Promise<void> {
    const uploaded = new Map<string, DeviceTensor>();
    for (const name of this.#shapes.keys())
      for (const part of PARTS) uploaded.set(`${part} ${name}`, await this.#engine.upload(state.get(name)![part]));
    this.#replace((part, name) => uploaded.get(`${part} ${name}`)!);
  }

  #replace(next: (part: Part, name: string) => DeviceTensor): void {
    for (const part of PARTS) {
      for (const name of this.#shapes.keys()) {
        this.#state[part].get(name)?.dispose();
        this.#state[part].set(name, next(part, name));
      }
    }
  }

  dispose(): void {
    for (const part of PARTS) disposeAll(this.#state[part].values());
    disposeAll(this.#sums.values());
    for (const session of [this.#adding, this.#stepping])
      void session?.then(
        (opened) => opened.dispose(),
        () => {},
      );
  }
}

function named(part: string, tensors: ReadonlyMap<string, Tensor>): Record<string, Tensor> {
  return Object.fromEntries([...tensors].map(([name, tensor]) => [`${part} ${name}`, tensor]));
}

function addingGraph(shapes: Shapes): Graph {
  const graph = createGraph("sums of gradients");
  for (const [name, shape] of shapes) graph.output(name, add(graph.float(`a ${name}`, ...shape), graph.float(`b ${name}`, ...shape)));
  return graph;
}

function steppingGraph(shapes: Shapes, adamw: AdamWOptions): Graph {
  const { beta1, beta2, epsilon } = withDefaults(adamw);
  const graph = createGraph("adamw");
  const [share, clip, stepSize, correction, decay] = SETTINGS.map((name) => graph.float(name)) as [Float, Float, Float, Float, Float];
  const gradients = [...shapes].map(([name, shape]) => mul(graph.float(`gradient ${name}`, ...shape), share));
  const squares = gradients.map((gradient) => reduceSum(square(gradient), { axes: [...gradient.shape.keys()], keep: false }));
  const norm = sqrt(squares.reduce((sum, one) => add(sum, one)));
  const factor = min(div(clip, add(norm, CLIP_EPSILON)), 1);
  graph.output("norm", norm);
  for (const [i, [name, shape]] of [...shapes].entries()) {
    const [value, m, v] = PARTS.map((part) => graph.float(`${part} ${name}`, ...shape)) as [Float, Float, Float];
    const gradient = mul(gradients[i]!, factor);
    const newM = add(mul(m, beta1), mul(gradient, 1 - beta1));
    const newV = add(mul(v, beta2), mul(square(gradient), 1 - beta2));
    const change = div(mul(newM, stepSize), add(div(sqrt(newV), correction), epsilon));
    graph.output(`new value ${name}`, sub(mul(value, decay), change));
    graph.output(`new m ${name}`, newM);
    graph.output(`new v ${name}`, newV);
  }
  return graph;
}
