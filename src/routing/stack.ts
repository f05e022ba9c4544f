/** @file A pool's experts stacked into the feeds of a routed graph, one set per module: the adapters' factors (factor-stack.ts), and
 *
 *      experts.<module>.prototypes  [experts * rows, in]   the router's vectors
 *      experts.<module>.bars        [experts]              0, or BARRED if the expert lacks the module; absent if none lacks it
 *
 *  A stack is immutable: `with` and `without` return new ones. Buffers have
 *  spare room and are shared, so adding an expert copies only that expert's bytes and rebuilds no graph. */

import type { LoraWeights } from "../adapters/adapter.ts";
import type { Expert } from "../adapters/expert.ts";
import { needInputs } from "../adapters/modules.ts";
import { PoolError } from "../base/errors.ts";
import type { HostTensor } from "../base/tensor.ts";
import { copyNumbers } from "../checkpoint/copy-numbers.ts";
import type { Feeds } from "../runtime/session.ts";
import { FactorStack } from "./factor-stack.ts";
import type { Holding, ModuleShape } from "./mixing.ts";
import { mixingOf } from "./mixings.ts";
import { Records } from "./records.ts";
import { BARRED, type Router } from "./router.ts";

type Sizes = ReadonlyMap<string, { readonly in: number; readonly out: number }>;

export const stackNames = (module: string) => ({ prototypes: `experts.${module}.prototypes`, bars: `experts.${module}.bars` });

/** What a router adds to one module's factors. */
interface ModuleVectors {
  readonly prototypes: Records;
  readonly bars: Records;
}
type Vectors = ReadonlyMap<string, ModuleVectors>;

/** The stacked experts of every module that at least one of them covers. It is immutable and shares its buffers with the stacks that
 *  it was made from. */
export class ExpertStack {
  readonly modules: ReadonlyMap<string, ModuleShape>;
  readonly names: readonly string[];
  readonly feeds: Feeds;
  readonly #router: Router;
  readonly #factors: FactorStack;
  readonly #vectors: Vectors;

  private constructor(
    parts: { readonly modules: ReadonlyMap<string, ModuleShape>; readonly router: Router; readonly factors: FactorStack },
    names: readonly string[],
    vectors: Vectors,
  ) {
    this.modules = parts.modules;
    this.names = names;
    this.#router = parts.router;
    this.#factors = parts.factors;
    this.#vectors = vectors;
    this.feeds = { ...parts.factors.feeds, ...feedsOf(parts.modules, vectors) };
  }

  static of(modules: ReadonlyMap<string, ModuleShape>, router: Router, experts: readonly Expert[]): ExpertStack {
    const factors = FactorStack.of(
      modules,
      experts.map(({ adapter }) => adapter),
    );
    const made = [...modules].map(([module, { in: inputs, rows }]) => {
      return { module, prototypes: Records.of([rows, inputs], experts.length, "float32"), bars: Records.of([], experts.length, "float32") };
    });
    for (const [i, expert] of experts.entries()) {
      for (const { module, prototypes, bars } of made)
        fillVectors(expert, module, router, { prototype: prototypes.record(i), bar: bars.record(i) });
    }
    const vectors = new Map(made.map(({ module, prototypes, bars }) => [module, { prototypes: prototypes.records, bars: bars.records }]));
    const names = experts.map(({ name }) => name);
    return new ExpertStack({ modules, router, factors }, names, vectors);
  }

  /** Whether `expert` fits into these records. A larger rank, a new module, the first expert that lacks a module, or the first one in
   *  another precision needs a new graph, unless the records are float32. */
  fits(expert: Expert): boolean {
    return (
      [...shapesOf([expert], this.modules, this.#router)].every(([module, needs]) => {
        const has = this.modules.get(module);
        const within = (shape: readonly number[], name: string) => shape.every((size, axis) => size <= (has?.factors[name]?.[axis] ?? -1));
        return (
          has?.kind === needs.kind &&
          has.form === needs.form &&
          holds(has, needs) &&
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
    const parts = { modules: this.modules, router: this.#router, factors: this.#factors.with(expert.adapter) };
    return new ExpertStack(parts, [...this.names, expert.name], withExpert(this.#vectors, expert, this.#router));
  }

  /** A stack without the expert at this index. Graphs that were built for this stack also work for the result. */
  without(index: number): ExpertStack {
    const vectors = [...this.#vectors].map(([module, { prototypes, bars }]): [string, ModuleVectors] => {
      return [module, { prototypes: prototypes.without(index), bars: bars.without(index) }];
    });
    const parts = { modules: this.modules, router: this.#router, factors: this.#factors.without(index) };
    const names = this.names.filter((_, i) => i !== index);
    return new ExpertStack(parts, names, new Map(vectors));
  }
}

/** Whether records that are held like this can hold such an expert. */
function holds(has: Holding, needs: Holding): boolean {
  return has.precision === "float32" || (has.precision === needs.precision && (has.scaled || !needs.scaled));
}

function withExpert(known: Vectors, expert: Expert, router: Router): Vectors {
  return new Map(
    [...known].map(([module, records]): [string, ModuleVectors] => {
      const [prototypes, bars] = [records.prototypes.with(), records.bars.with()];
      fillVectors(expert, module, router, { prototype: prototypes.record as Float32Array, bar: bars.record as Float32Array });
      return [module, { prototypes: prototypes.records, bars: bars.records }];
    }),
  );
}

function fillVectors(
  expert: Expert,
  module: string,
  router: Router,
  { prototype, bar }: { readonly prototype: Float32Array; readonly bar: Float32Array },
): void {
  const own = expert.adapter.modules.has(module) ? router.prototype(expert, module) : undefined;
  if (own) copyNumbers(own, prototype);
  else bar[0] = BARRED;
}

function feedsOf(modules: ReadonlyMap<string, ModuleShape>, vectors: Vectors): Feeds {
  const feeds: Record<string, HostTensor> = {};
  for (const [module, { prototypes, bars }] of vectors) {
    const names = stackNames(module);
    feeds[names.prototypes] = flattenedRows(prototypes.tensor as HostTensor<"float32">);
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
    const factors = mixing.factors(weights, size);
    shapes.set(module, { kind, form, in: size.in, out: size.out, factors, ...mixing.holding(weights), rows, barred });
  }
  return shapes;
}

/** [experts, rows, in] -> [experts * rows, in] */
function flattenedRows({ dtype, shape, data }: HostTensor<"float32">): HostTensor<"float32"> {
  const [experts = 0, rows = 0, inputs = 0] = shape;
  return { dtype, shape: [experts * rows, inputs], data };
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
