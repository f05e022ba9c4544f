/** @file A pool's experts stacked into the feeds of a routed graph, one set per module.
 *
 *      experts.<module>.<factor>    [experts, ...]         what the kind of adapter needs, scaling folded in
 *      experts.<module>.prototypes  [experts * rows, in]   what the router scores by
 *      experts.<module>.bars        [experts]              0, or BARRED where an expert lacks the module; absent where none does
 *
 *  The last expert comes first (mixture.ts says why). Buffers grow by doubling, so adding an expert costs its own bytes and
 *  no graph is rebuilt. */

import type { Adapter, LoraWeights } from "../adapters/adapter.ts";
import type { Expert } from "../adapters/expert.ts";
import { needInputs } from "../adapters/modules.ts";
import { PoolError } from "../base/errors.ts";
import type { HostTensor } from "../base/tensor.ts";
import type { Feeds } from "../runtime/session.ts";
import { bottleneckMixing } from "./bottleneck-mixing.ts";
import { ia3Mixing } from "./ia3-mixing.ts";
import { loraMixing } from "./lora-mixing.ts";
import type { Mixing, ModuleShape } from "./mixing.ts";
import { BARRED, type Router } from "./router.ts";

type Mixings = { readonly [A in Adapter as A["kind"]]: Mixing<A["modules"] extends ReadonlyMap<string, infer W> ? W : never> };
const MIXINGS: Mixings = { lora: loraMixing, ia3: ia3Mixing, bottleneck: bottleneckMixing };

/** The answers of a kind, for the weights that adapters of that kind hold. */
export function mixingOf(kind: Adapter["kind"]): Mixing<unknown> {
  return MIXINGS[kind] as Mixing<unknown>;
}

type Sizes = ReadonlyMap<string, { readonly in: number; readonly out: number }>;

/** A float32 buffer of equal records, the last one first, that grows by doubling. */
class Records {
  readonly #shape: readonly number[];
  readonly #size: number;
  #data: Float32Array;
  #count = 0;

  constructor(shape: readonly number[]) {
    this.#shape = shape;
    this.#size = shape.reduce((product, n) => product * n, 1);
    this.#data = new Float32Array(this.#size);
  }
  /** The new record, zeroed, to be filled. */
  push(): Float32Array {
    const needed = (this.#count + 1) * this.#size;
    if (needed > this.#data.length) {
      const larger = new Float32Array(Math.max(needed, this.#data.length * 2));
      larger.set(this.#data, larger.length - this.#data.length);
      this.#data = larger;
    }
    this.#count++;
    return this.#data.subarray(this.#data.length - needed, this.#data.length - needed + this.#size);
  }
  get tensor(): HostTensor<"float32"> {
    const data = this.#data.subarray(this.#data.length - this.#count * this.#size);
    return { dtype: "float32", shape: [this.#count, ...this.#shape], data };
  }
}

export const stackNames = (module: string) => ({
  factor: (name: string) => `experts.${module}.${name}`,
  prototypes: `experts.${module}.prototypes`,
  bars: `experts.${module}.bars`,
});

interface ModuleRecords {
  readonly factors: Readonly<Record<string, Records>>;
  readonly prototypes: Records;
  readonly bars: Records;
}

/** The stacked experts of every module that any of them covers. */
export class ExpertStack {
  readonly modules: ReadonlyMap<string, ModuleShape>;
  readonly names: string[] = [];
  readonly #router: Router;
  readonly #records: ReadonlyMap<string, ModuleRecords>;

  constructor(modules: ReadonlyMap<string, ModuleShape>, router: Router, experts: readonly Expert[]) {
    this.modules = modules;
    this.#router = router;
    this.#records = new Map(
      [...modules].map(([module, { in: inputs, factors, rows }]) => [
        module,
        { factors: mapped(factors, (shape) => new Records(shape)), prototypes: new Records([rows, inputs]), bars: new Records([]) },
      ]),
    );
    for (const expert of experts) this.add(expert);
  }

  /** Whether `expert` fits into these records; a wider rank, another module or the first to lack one needs a new graph. */
  fits(expert: Expert): boolean {
    return (
      [...shapesOf([expert], this.modules, this.#router)].every(([module, needs]) => {
        const has = this.modules.get(module);
        const within = (shape: readonly number[], name: string) => shape.every((size, axis) => size <= (has?.factors[name]?.[axis] ?? -1));
        return (
          has?.kind === needs.kind &&
          has.form === needs.form &&
          needs.rows <= has.rows &&
          (has.barred || !needs.barred) &&
          Object.entries(needs.factors).every(([name, shape]) => within(shape, name))
        );
      }) &&
      [...expert.adapter.modules.keys()].every((module) => this.modules.has(module)) &&
      [...this.modules].every(([module, { barred }]) => barred || expert.adapter.modules.has(module))
    );
  }

  add(expert: Expert): void {
    for (const [module, records] of this.#records) {
      const shape = this.modules.get(module)!;
      const weights = expert.adapter.modules.get(module);
      const prototype = weights && this.#router.prototype(expert, module);
      const [factors, prototypes, bars] = [
        mapped(records.factors, (factor) => factor.push()),
        records.prototypes.push(),
        records.bars.push(),
      ];
      if (!weights || !prototype) {
        bars[0] = BARRED;
        continue;
      }
      prototypes.set(prototype.data);
      mixingOf(shape.kind).fill(weights, factors, shape);
    }
    this.names.push(expert.name);
  }

  get feeds(): Feeds {
    const feeds: Record<string, HostTensor> = {};
    for (const [module, records] of this.#records) {
      const names = stackNames(module);
      for (const [name, factor] of Object.entries(records.factors)) feeds[names.factor(name)] = factor.tensor;
      feeds[names.prototypes] = flattenedRows(records.prototypes.tensor);
      if (this.modules.get(module)!.barred) feeds[names.bars] = records.bars.tensor;
    }
    return feeds;
  }
}

/** The shape each module's stack needs for these experts. Experts of different kinds, or on embeddings, are refused by name. */
export function stackShapes(experts: readonly Expert[], sizes: Sizes, router: Router): Map<string, ModuleShape> {
  for (const { name, adapter } of experts) needInputs(adapter, `Expert "${name}"`);
  checkKinds(experts.map(({ name, adapter }) => ({ name, kind: adapter.kind })));
  return shapesOf(experts, sizes, router);
}

export interface NamedKind {
  readonly name: string;
  readonly kind: string;
}
/** Refuses experts of different kinds, among which no router could choose. `where`: the pool's folder. */
export function checkKinds([first, ...others]: readonly NamedKind[], where?: string): void {
  const other = others.find(({ kind }) => kind !== first?.kind);
  if (!first || !other) return;
  throw new PoolError({
    what: `Expert "${first.name}" is of kind ${first.kind}, expert "${other.name}" of kind ${other.kind}.`,
    ...(where !== undefined && { where }),
    fix: "A pool routes among experts of one kind: put the others in a pool of their own.",
  });
}

function shapesOf(experts: readonly Expert[], sizes: Sizes, router: Router): Map<string, ModuleShape> {
  const shapes = new Map<string, ModuleShape>();
  for (const [module, size] of sizes) {
    const covering = experts.filter(({ adapter }) => adapter.modules.has(module));
    const kind = covering[0]?.adapter.kind;
    if (kind === undefined) continue;
    const weights = covering.map(({ adapter }) => adapter.modules.get(module)!);
    const rows = Math.max(...covering.map((expert) => router.prototype(expert, module)?.shape[0] ?? 0));
    const mixing = mixingOf(kind);
    const form = mixing.form(weights[0]);
    const odd = weights.findIndex((other) => mixing.form(other) !== form);
    if (odd > 0) {
      throw new PoolError({
        what: `${kind} experts "${covering[0]!.name}" (${form}) and "${covering[odd]!.name}" (${mixing.form(weights[odd])}) differ in form.`,
        where: module,
        fix: "Put experts of each form in a pool of their own.",
      });
    }
    const barred = experts.some((expert) => !covering.includes(expert) || !router.prototype(expert, module));
    shapes.set(module, { kind, form, in: size.in, out: size.out, factors: mixing.factors(weights, size), rows, barred });
  }
  return shapes;
}

/** [experts, rows, in] -> [experts * rows, in] */
function flattenedRows({ dtype, shape, data }: HostTensor<"float32">): HostTensor<"float32"> {
  const [experts = 0, rows = 0, inputs = 0] = shape;
  return { dtype, shape: [experts * rows, inputs], data };
}

function mapped<T, U>(record: Readonly<Record<string, T>>, change: (value: T) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value)]));
}

/** The LoRA weights of an expert, for methods that route no other kind. */
export function loraOf(expert: Expert): ReadonlyMap<string, LoraWeights> {
  if (expert.adapter.kind === "lora") return expert.adapter.modules;
  throw new PoolError({ what: `Expert "${expert.name}" is of kind ${expert.adapter.kind}.`, fix: "This method takes LoRA experts only." });
}
