/** @file A pool of which each row uses one expert, and only the experts in use are in memory.
 *
 *      y = W x + (x A_zᵀ) B_z       z: the row's expert at this module; z < 0: the base alone
 *
 *  The others stay in their files. The least recently used experts leave when more than `most` are in memory. Rows that run at the same
 *  time need their experts at the same time, so a batch with more experts than that holds as many as it has. */

import type { LoraWeights } from "../adapters/adapter.ts";
import type { Expert } from "../adapters/expert.ts";
import { type ModuleSizes, needInputs } from "../adapters/modules.ts";
import { float32, type HostTensor, int64 } from "../base/tensor.ts";
import { copyNumbers } from "../checkpoint/copy-numbers.ts";
import { matmul } from "../graph/ops/linalg.ts";
import { gather, integers, reshape } from "../graph/ops/movement.ts";
import type { Graph } from "../graph/value.ts";
import type { Seams } from "../models/embedding.ts";
import { weave } from "../models/linear.ts";
import { loraOf } from "../routing/stack.ts";
import type { Feeds } from "../runtime/session.ts";
import type { Prompts } from "./prompts.ts";
import { expertIdentity, identityOf, turnEndsOf, type Woven } from "./woven.ts";

/** The expert of each row at each place, [rows][places]; -1 for the base alone. */
export type ChooseExperts = (prompts: Prompts) => Promise<readonly (readonly number[])[]>;

export interface ResidentOptions {
  /** Experts in memory. */
  readonly most: number;
  readonly choose: ChooseExperts;
  /** The number of places where a row chooses, and the place that a module follows. Default: one for all modules. */
  readonly places?: { readonly count: number; readonly of: (module: string) => number };
}

const CHOICE = "resident.choice"; // which of the experts in the feeds each row uses, [rows, places]
const WANTED = "resident.expert"; // which of the pool's experts it is
const names = (module: string) => ({ a: `resident.${module}.a`, b: `resident.${module}.b` });

interface Shape {
  readonly in: number;
  readonly out: number;
  readonly rank: number;
}
type Loaded = ReadonlyMap<string, HostTensor<"float32">>;

/** @throws PoolError for an expert that is no LoRA, AdapterError for one on embeddings. */
export class ResidentExperts implements Woven {
  readonly key: string;
  readonly id: string;
  readonly batch: string;
  readonly experts: readonly string[];
  readonly turnEnds: readonly number[];
  readonly feeds: Feeds = {};
  readonly chooseRows: (prompts: Prompts) => Promise<Feeds>;
  readonly #members: readonly Expert[];
  readonly #shapes: ReadonlyMap<string, Shape>;
  readonly #options: ResidentOptions;
  /** The least recently used is first. */
  readonly #loaded = new Map<number, Loaded>();

  constructor(experts: readonly Expert[], sizes: ModuleSizes, options: ResidentOptions) {
    for (const { name, adapter } of experts) needInputs(adapter, `Expert "${name}"`);
    this.#members = experts;
    this.#options = options;
    this.#shapes = shapesOf(experts, sizes);
    this.experts = experts.map(({ name }) => name);
    this.turnEnds = turnEndsOf(experts);
    const shapes = [...this.#shapes].map(([module, { rank }]) => `${module}:${rank}`);
    this.key = `resident ${options.places?.count ?? 1} ${shapes.join()}`;
    this.batch = `${this.key} ${identityOf(this)} of ${experts.map(expertIdentity).join()}`;
    this.id = this.batch;
    this.chooseRows = async (prompts) => {
      const rows = await options.choose(prompts);
      return { [WANTED]: int64([rows.length, rows[0]?.length ?? 1], rows.flat()) };
    };
  }

  /** How many experts are in memory. */
  get resident(): number {
    return this.#loaded.size;
  }

  /** The experts that the rows of a run chose, read where they are not in memory. */
  readonly feedsOfChosen = (choices: Feeds): Feeds => {
    const { data, shape } = choices[WANTED] as HostTensor<"int64">;
    const wanted = [...new Set(Array.from(data, Number))];
    const loaded = wanted.map((expert) => this.#load(expert));
    this.#forget(Math.max(this.#options.most, wanted.length));
    const feeds: Record<string, HostTensor> = {
      [CHOICE]: int64(
        shape,
        Array.from(data, (expert) => wanted.indexOf(Number(expert))),
      ),
    };
    for (const module of this.#shapes.keys())
      for (const name of Object.values(names(module))) feeds[name] = joined(loaded.map((one) => one.get(name)!));
    return feeds;
  };

  #load(expert: number): Loaded {
    const known = this.#loaded.get(expert) ?? loadedExpert(this.#members[expert], this.#shapes);
    this.#loaded.delete(expert);
    this.#loaded.set(expert, known);
    return known;
  }

  #forget(most: number): void {
    for (const expert of this.#loaded.keys()) if (this.#loaded.size > most) this.#loaded.delete(expert);
  }

  weave(graph: Graph, inner: Seams): Seams {
    const { places } = this.#options;
    const linear = weave(inner.linear, (x, module) => {
      const shape = this.#shapes.get(module);
      if (!shape) return undefined;
      const own = names(module);
      const choices = graph.int(CHOICE, x.shape[0]!, places?.count ?? 1);
      const choice = reshape(gather(choices, integers(graph, [places?.of(module) ?? 0]), 1), x.shape[0]!);
      const a = gather(graph.float(own.a, "resident", shape.rank, shape.in), choice);
      const b = gather(graph.float(own.b, "resident", shape.rank, shape.out), choice);
      return matmul(matmul(x, a, { transB: true }), b);
    });
    return { ...inner, linear };
  }
}

/** Each module's largest rank. */
function shapesOf(experts: readonly Expert[], sizes: ModuleSizes): Map<string, Shape> {
  const shapes = new Map<string, Shape>();
  const loras = experts.map(loraOf);
  for (const [module, { in: inputs, out }] of sizes) {
    const rank = Math.max(0, ...loras.map((lora) => lora.get(module)?.rank ?? 0));
    if (rank > 0) shapes.set(module, { in: inputs, out, rank });
  }
  return shapes;
}

/** An expert's factors [1, rank, ...], zero where it is narrower or lacks the module; without an expert all are zero. */
function loadedExpert(expert: Expert | undefined, shapes: ReadonlyMap<string, Shape>): Loaded {
  const own = expert && loraOf(expert);
  return new Map(
    [...shapes].flatMap(([module, shape]) => {
      const [a, b] = [float32([1, shape.rank, shape.in]), float32([1, shape.rank, shape.out])];
      const lora = own?.get(module);
      if (lora) fill(lora, a.data, b.data);
      const { a: aName, b: bName } = names(module);
      return [
        [aName, a],
        [bName, b],
      ] as const;
    }),
  );
}

/** a: [rank, in]; b: [rank, out], the transpose of B, with the scaling folded in. */
function fill({ rank, scaling, a, b }: LoraWeights, toA: Float32Array, toB: Float32Array): void {
  copyNumbers(a, toA);
  const [numbers, out] = [b.data, b.shape[0]!];
  for (let o = 0; o < out; o++) for (let r = 0; r < rank; r++) toB[r * out + o] = numbers[o * rank + r]! * scaling;
}

/** Tensors [1, ...] one after another; one alone is not copied. */
function joined(tensors: readonly HostTensor<"float32">[]): HostTensor<"float32"> {
  const [first] = tensors as [HostTensor<"float32">];
  if (tensors.length === 1) return first;
  const all = float32([tensors.length, ...first.shape.slice(1)]);
  tensors.forEach(({ data }, i) => {
    all.data.set(data, i * data.length);
  });
  return all;
}
