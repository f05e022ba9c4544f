/** @file The adapters of a pool stacked into feeds, one set per module:
 *
 *      experts.<module>.<factor>    [experts, ...]         matrices in the precision of the experts' files (mixing.ts)
 *
 *  A stack does not depend on the router. All methods that are opened on one pool share it, and so do the pools that `with` and `without`
 *  make of it: a stack of the same adapters is made once, and found again for as long as somebody holds it. */

import type { Adapter } from "../adapters/adapter.ts";
import type { HostTensor } from "../base/tensor.ts";
import type { Precision } from "../checkpoint/copy-numbers.ts";
import type { Feeds } from "../runtime/session.ts";
import type { FactorShape, Filled } from "./mixing.ts";
import { mixingOf } from "./mixings.ts";
import { type Numbers, Records } from "./records.ts";

export type FactorShapes = ReadonlyMap<string, FactorShape>;
type ModuleFactors = ReadonlyMap<string, Readonly<Record<string, Records>>>;

export const factorName = (module: string, factor: string) => `experts.${module}.${factor}`;

interface Factor {
  /** Of one expert. */
  readonly shape: readonly number[];
  readonly precision: Precision;
}

/** The factors of a module's stack, by name. */
export function stackedFactors({ factors, precision, scaled }: FactorShape): Readonly<Record<string, Factor>> {
  const held = Object.entries(factors).map(([name, shape]) => [name, { shape, precision: shape.length > 1 ? precision : "float32" }]);
  return Object.fromEntries([...held, ...(scaled ? [["scaling", { shape: [], precision: "float32" }]] : [])]);
}

/** Immutable; it shares its buffers with the stacks that it was made from. */
export class FactorStack {
  readonly shapes: FactorShapes;
  readonly adapters: readonly Adapter[];
  readonly feeds: Feeds;
  readonly #factors: ModuleFactors;

  private constructor(shapes: FactorShapes, adapters: readonly Adapter[], factors: ModuleFactors) {
    this.shapes = shapes;
    this.adapters = adapters;
    this.#factors = factors;
    this.feeds = feedsOf(factors);
    remember(this);
  }

  static of(shapes: FactorShapes, adapters: readonly Adapter[]): FactorStack {
    const known = knownStack(shapes, adapters);
    if (known) return known;
    const modules = [...shapes].map(([module, shape]) => {
      const made = mapped(stackedFactors(shape), (factor) => Records.of(factor.shape, adapters.length, factor.precision));
      return { module, shape, made };
    });
    // One adapter after another, so that the files of each are read once.
    for (const [i, adapter] of adapters.entries()) {
      for (const { module, shape, made } of modules) {
        const weights = adapter.modules.get(module);
        if (weights)
          fillFactors(
            weights,
            mapped(made, ({ record }) => record(i)),
            shape,
          );
      }
    }
    return new FactorStack(shapes, adapters, new Map(modules.map(({ module, made }) => [module, mapped(made, ({ records }) => records)])));
  }

  /** A stack with one more adapter at the end; it must fit into the shapes. */
  with(adapter: Adapter): FactorStack {
    const adapters = [...this.adapters, adapter];
    const known = knownStack(this.shapes, adapters);
    return known ?? new FactorStack(this.shapes, adapters, withAdapter(this.#factors, adapter, this.shapes));
  }

  /** A stack without the adapter at this index. */
  without(index: number): FactorStack {
    const adapters = this.adapters.filter((_, i) => i !== index);
    const known = knownStack(this.shapes, adapters);
    if (known) return known;
    const factors = [...this.#factors].map(([module, records]) => [module, mapped(records, (factor) => factor.without(index))] as const);
    return new FactorStack(this.shapes, adapters, new Map(factors));
  }
}

function withAdapter(before: ModuleFactors, adapter: Adapter, shapes: FactorShapes): ModuleFactors {
  return new Map(
    [...before].map(([module, factors]) => {
      const grown = mapped(factors, (factor) => factor.with());
      const [weights, shape] = [adapter.modules.get(module), shapes.get(module)!];
      if (weights)
        fillFactors(
          weights,
          mapped(grown, ({ record }) => record),
          shape,
        );
      return [module, mapped(grown, ({ records }) => records)] as const;
    }),
  );
}

/** Writes one expert's weights into its records, which are zero before. */
export function fillFactors(weights: unknown, records: Readonly<Record<string, Numbers>>, shape: FactorShape): void {
  const vectors = records as Filled["vectors"]; // those of vectors are float32
  mixingOf(shape.kind).fill(weights, { matrices: records, vectors }, shape);
}

function feedsOf(factors: ModuleFactors): Feeds {
  const feeds: Record<string, HostTensor> = {};
  for (const [module, records] of factors) {
    for (const [name, factor] of Object.entries(records)) feeds[factorName(module, name)] = factor.tensor;
  }
  return feeds;
}

// Stacks by the first of their adapters. An adapter never changes, so the same adapters in the same shapes give the same stack.
const stacks = new WeakMap<Adapter, WeakRef<FactorStack>[]>();

function remember(stack: FactorStack): void {
  const [first] = stack.adapters;
  if (!first) return;
  const held = (stacks.get(first) ?? []).filter((other) => other.deref());
  stacks.set(first, [...held, new WeakRef(stack)]);
}

function knownStack(shapes: FactorShapes, adapters: readonly Adapter[]): FactorStack | undefined {
  const [first] = adapters;
  for (const held of (first && stacks.get(first)) ?? []) {
    const stack = held.deref();
    if (!stack || stack.adapters.length !== adapters.length) continue;
    if (adapters.every((adapter, i) => adapter === stack.adapters[i]) && sameShapes(stack.shapes, shapes)) return stack;
  }
  return undefined;
}

function sameShapes(one: FactorShapes, other: FactorShapes): boolean {
  return one === other || (one.size === other.size && [...one].every(([module, shape]) => isSame(shape, other.get(module))));
}

function isSame(one: FactorShape, other: FactorShape | undefined): boolean {
  return other?.kind === one.kind && other.form === one.form && factorsKey(other) === factorsKey(one);
}

/** The factors of a module's stack as text: equal texts take the same feeds. */
export function factorsKey(shape: FactorShape): string {
  return JSON.stringify(stackedFactors(shape));
}

export function mapped<T, U>(record: Readonly<Record<string, T>>, change: (value: T) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value)]));
}
