/** @file A pool of which each row uses one expert, and only the experts in use are in memory.
 *
 *      y = W x + (x A_zᵀ) B_z + c_z       z: the row's expert at this module; z < 0: the base alone
 *
 *  The factors are those of stacks (routing/lora-mixing.ts). The others stay in their files. The least recently used experts leave when more than `most` are in memory. Rows that run at the same
 *  time need their experts at the same time, so a batch with more experts than that holds as many as it has. */

import type { Expert } from "../adapters/expert.ts";
import { type ModuleSizes, needInputs } from "../adapters/modules.ts";
import { type HostTensor, int64 } from "../base/tensor.ts";
import { add, mul, toFloat } from "../graph/ops/elementwise.ts";
import { matmul } from "../graph/ops/linalg.ts";
import { gather, integers, reshape, unsqueeze } from "../graph/ops/movement.ts";
import type { Graph } from "../graph/value.ts";
import type { Seams } from "../models/embedding.ts";
import { weave } from "../models/linear.ts";
import { factorsKey, fillFactors, mapped, stackedFactors } from "../routing/factor-stack.ts";
import type { FactorShape } from "../routing/mixing.ts";
import { mixingOf } from "../routing/mixings.ts";
import { Records } from "../routing/records.ts";
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
const nameOf = (module: string, factor: string) => `resident.${module}.${factor}`;

/** The tensors of one expert by their names in feeds: [1, ...]. */
type Loaded = ReadonlyMap<string, HostTensor>;

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
  readonly #shapes: ReadonlyMap<string, FactorShape>;
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
    const shapes = [...this.#shapes].map(([module, shape]) => `${module}:${factorsKey(shape)}`);
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
    for (const name of loaded[0]?.keys() ?? []) feeds[name] = joined(loaded.map((one) => one.get(name)!));
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
      const factors = stackedFactors(shape);
      const choices = graph.int(CHOICE, x.shape[0]!, places?.count ?? 1);
      const choice = reshape(gather(choices, integers(graph, [places?.of(module) ?? 0]), 1), x.shape[0]!);
      const factor = (name: string) => {
        const { shape: sizes, precision } = factors[name]!;
        return toFloat(gather(graph.input(nameOf(module, name), precision, ["resident", ...sizes]), choice));
      };
      const up = matmul(matmul(x, factor("a"), { transB: true }), factor("b"));
      const delta = factors.bias ? add(up, unsqueeze(factor("bias"), 1)) : up;
      return factors.scaling ? mul(delta, unsqueeze(factor("scaling"), 1, 2)) : delta;
    });
    return { ...inner, linear };
  }
}

/** The factors of each module that some expert covers. */
function shapesOf(experts: readonly Expert[], sizes: ModuleSizes): Map<string, FactorShape> {
  const shapes = new Map<string, FactorShape>();
  const [loras, mixing] = [experts.map(loraOf), mixingOf("lora")];
  for (const [module, size] of sizes) {
    const weights = loras.flatMap((lora) => lora.get(module) ?? []);
    if (weights.length === 0) continue;
    const factors = mixing.factors(weights, size);
    shapes.set(module, { kind: "lora", form: "", in: size.in, out: size.out, factors, ...mixing.holding(weights) });
  }
  return shapes;
}

/** An expert's factors, zero where it is narrower or lacks the module; without an expert all are zero. */
function loadedExpert(expert: Expert | undefined, shapes: ReadonlyMap<string, FactorShape>): Loaded {
  const own = expert && loraOf(expert);
  return new Map(
    [...shapes].flatMap(([module, shape]) => {
      const made = mapped(stackedFactors(shape), (factor) => Records.of(factor.shape, 1, factor.precision, 1));
      const weights = own?.get(module);
      if (weights) {
        fillFactors(
          weights,
          mapped(made, ({ record }) => record(0)),
          shape,
        );
      }
      return Object.entries(made).map(([name, { records }]): [string, HostTensor] => [nameOf(module, name), records.tensor]);
    }),
  );
}

/** Tensors [1, ...] one after another; one alone is not copied. */
function joined(tensors: readonly HostTensor[]): HostTensor {
  const [first] = tensors as [HostTensor];
  if (tensors.length === 1) return first;
  const data = new (first.data.constructor as Float32ArrayConstructor)(tensors.length * first.data.length);
  tensors.forEach((tensor, i) => {
    data.set(tensor.data as Float32Array, i * first.data.length);
  });
  return { dtype: first.dtype, shape: [tensors.length, ...first.shape.slice(1)], data };
}
