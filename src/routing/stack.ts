/** @file A pool's experts stacked into the feeds of a routed graph, one set per module.
 *
 *      experts.<module>.<factor>    [experts, ...]         the adapters' factors, with the scaling folded in
 *      experts.<module>.prototypes  [experts * rows, in]   the router's vectors
 *      experts.<module>.bars        [experts]              0, or BARRED if the expert lacks the module; absent if none lacks it
 *
 *  The last expert comes first (mixture.ts says why). A stack is immutable: `with` and `without` return new ones. Buffers grow by
 *  doubling and are shared, so adding an expert copies only that expert's bytes and rebuilds no graph. */

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

/** The mixing functions of a kind of adapter. */
export function mixingOf(kind: Adapter["kind"]): Mixing<unknown> {
  return MIXINGS[kind] as Mixing<unknown>;
}

type Sizes = ReadonlyMap<string, { readonly in: number; readonly out: number }>;

/** The buffer that snapshots of one sequence of records share. `used` counts the records that a snapshot can see. */
interface Store {
  readonly data: Float32Array;
  used: number;
}

/** Equal float32 records, the last one first: an immutable view of a store that grows by doubling. */
class Records {
  readonly #shape: readonly number[];
  readonly #size: number;
  readonly #store: Store;
  readonly #count: number;

  private constructor(shape: readonly number[], size: number, store: Store, count: number) {
    this.#shape = shape;
    this.#size = size;
    this.#store = store;
    this.#count = count;
  }
  /** An empty view with capacity. */
  static none(shape: readonly number[], room: number): Records {
    const size = shape.reduce((product, n) => product * n, 1);
    return new Records(shape, size, { data: new Float32Array(size * room), used: 0 }, 0);
  }

  /** A view with one more record, which holds zeros and which the caller fills. Other views do not change. */
  with(): { readonly records: Records; readonly record: Float32Array } {
    const needed = (this.#count + 1) * this.#size;
    const isFree = this.#store.used === this.#count && needed <= this.#store.data.length;
    const store = isFree ? this.#store : this.#copied(Math.max(this.#count + 1, this.#count * 2));
    store.used = this.#count + 1;
    const start = store.data.length - needed;
    return {
      records: new Records(this.#shape, this.#size, store, this.#count + 1),
      record: store.data.subarray(start, start + this.#size),
    };
  }

  /** A view without one record. If it is the last one, it is only hidden; otherwise the others are copied. */
  without(index: number): Records {
    const left = this.#count - 1;
    if (index === left) return new Records(this.#shape, this.#size, this.#store, left);
    const data = new Float32Array(left * this.#size);
    const seen = this.#seen;
    const at = (this.#count - 1 - index) * this.#size;
    data.set(seen.subarray(0, at));
    data.set(seen.subarray(at + this.#size), at);
    return new Records(this.#shape, this.#size, { data, used: left }, left);
  }

  get tensor(): HostTensor<"float32"> {
    return { dtype: "float32", shape: [this.#count, ...this.#shape], data: this.#seen };
  }
  get #seen(): Float32Array {
    return this.#store.data.subarray(this.#store.data.length - this.#count * this.#size);
  }
  #copied(room: number): Store {
    const data = new Float32Array(room * this.#size);
    data.set(this.#seen, data.length - this.#count * this.#size);
    return { data, used: this.#count };
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

/** The stacked experts of every module that at least one of them covers. It is immutable and shares its buffers with the stacks that
 *  it was made from. */
export class ExpertStack {
  readonly modules: ReadonlyMap<string, ModuleShape>;
  readonly names: readonly string[];
  readonly feeds: Feeds;
  readonly #router: Router;
  readonly #records: ReadonlyMap<string, ModuleRecords>;

  private constructor(
    modules: ReadonlyMap<string, ModuleShape>,
    router: Router,
    names: readonly string[],
    records: ReadonlyMap<string, ModuleRecords>,
  ) {
    this.modules = modules;
    this.names = names;
    this.#router = router;
    this.#records = records;
    this.feeds = feedsOf(modules, records);
  }

  static of(modules: ReadonlyMap<string, ModuleShape>, router: Router, experts: readonly Expert[]): ExpertStack {
    const room = experts.length;
    const none = [...modules].map(([module, { in: inputs, factors, rows }]): [string, ModuleRecords] => [
      module,
      {
        factors: mapped(factors, (shape) => Records.none(shape, room)),
        prototypes: Records.none([rows, inputs], room),
        bars: Records.none([], room),
      },
    ]);
    const records = experts.reduce((known, expert) => withExpert(known, expert, modules, router), new Map(none));
    return new ExpertStack(
      modules,
      router,
      experts.map(({ name }) => name),
      records,
    );
  }

  /** Whether `expert` fits into these records. A larger rank, a new module, or the first expert that lacks a module needs a new graph. */
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

  /** A stack with one more expert at the end; it must fit. */
  with(expert: Expert): ExpertStack {
    const records = withExpert(this.#records, expert, this.modules, this.#router);
    return new ExpertStack(this.modules, this.#router, [...this.names, expert.name], records);
  }

  /** A stack without the expert at this index. Graphs that were built for this stack also work for the result. */
  without(index: number): ExpertStack {
    const records = [...this.#records].map(([module, { factors, prototypes, bars }]): [string, ModuleRecords] => [
      module,
      { factors: mapped(factors, (factor) => factor.without(index)), prototypes: prototypes.without(index), bars: bars.without(index) },
    ]);
    return new ExpertStack(
      this.modules,
      this.#router,
      this.names.filter((_, i) => i !== index),
      new Map(records),
    );
  }
}

function withExpert(
  known: ReadonlyMap<string, ModuleRecords>,
  expert: Expert,
  modules: ReadonlyMap<string, ModuleShape>,
  router: Router,
): Map<string, ModuleRecords> {
  return new Map(
    [...known].map(([module, records]): [string, ModuleRecords] => {
      const shape = modules.get(module)!;
      const factors = mapped(records.factors, (factor) => factor.with());
      const [prototypes, bars] = [records.prototypes.with(), records.bars.with()];
      const weights = expert.adapter.modules.get(module);
      const prototype = weights && router.prototype(expert, module);
      if (weights && prototype) {
        prototypes.record.set(prototype.data);
        mixingOf(shape.kind).fill(
          weights,
          mapped(factors, ({ record }) => record),
          shape,
        );
      } else bars.record[0] = BARRED;
      return [module, { factors: mapped(factors, (factor) => factor.records), prototypes: prototypes.records, bars: bars.records }];
    }),
  );
}

function feedsOf(modules: ReadonlyMap<string, ModuleShape>, records: ReadonlyMap<string, ModuleRecords>): Feeds {
  const feeds: Record<string, HostTensor> = {};
  for (const [module, { factors, prototypes, bars }] of records) {
    const names = stackNames(module);
    for (const [name, factor] of Object.entries(factors)) feeds[names.factor(name)] = factor.tensor;
    feeds[names.prototypes] = flattenedRows(prototypes.tensor);
    if (modules.get(module)!.barred) feeds[names.bars] = bars.tensor;
  }
  return feeds;
}

/** The shape of each module's stack for these experts. Experts of different kinds, or on embeddings, are refused by name. */
export function stackShapes(experts: readonly Expert[], sizes: Sizes, router: Router): Map<string, ModuleShape> {
  for (const { name, adapter } of experts) needInputs(adapter, `Expert "${name}"`);
  checkKinds(experts.map(({ name, adapter }) => ({ name, kind: adapter.kind })));
  return shapesOf(experts, sizes, router);
}

export interface NamedKind {
  readonly name: string;
  readonly kind: string;
}
/** Refuses experts of different kinds, since no router can choose among them. `where`: the pool's folder. */
export function checkKinds([first, ...others]: readonly NamedKind[], where?: string): void {
  const other = others.find(({ kind }) => kind !== first?.kind);
  if (!first || !other) return;
  throw new PoolError({
    code: "pool-kinds-differ",
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
        code: "pool-forms-differ",
        data: { module },
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

/** The LoRA weights of an expert, for methods that support only LoRA. */
export function loraOf(expert: Expert): ReadonlyMap<string, LoraWeights> {
  if (expert.adapter.kind === "lora") return expert.adapter.modules;
  throw new PoolError({
    code: "pool-expert-kind",
    data: { expert: expert.name, kind: expert.adapter.kind },
    what: `Expert "${expert.name}" is of kind ${expert.adapter.kind}.`,
    fix: "This method takes LoRA experts only.",
  });
}
