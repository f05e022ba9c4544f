/** @file A small graph with random feeds, for numeric tests of operators. */

import { derivedSeed, type Random, seededRandom } from "../../src/base/random.ts";
import { elements } from "../../src/base/tensor.ts";
import { createGraph } from "../../src/graph/graph.ts";
import type { DType, Shape, Size } from "../../src/graph/sizes.ts";
import type { Bool, Float, Int, Value } from "../../src/graph/value.ts";
import { type NdArray, ndarray } from "./array.ts";

/** The run-time values of named sizes. `none` is an empty axis, like a cache's before the first token. */
const SIZES: Readonly<Record<string, number>> = { batch: 2, sequence: 3, heads: 2, kept: 2, none: 0 };

/** A size at run time: a number, a name, or an expression of both such as "batch*4" and "none+sequence". */
export function runtimeSize(size: Size): number {
  if (typeof size === "number") return size;
  const plain = (name: string) => (/^\d+$/.test(name) ? Number(name) : SIZES[name]!);
  const product = (term: string) =>
    term
      .split("*")
      .map(plain)
      .reduce((a, b) => a * b);
  return size
    .split("+")
    .map(product)
    .reduce((a, b) => a + b);
}

/** Declares inputs of a graph and draws the numbers to feed them. */
export class Sandbox {
  readonly graph = createGraph("sandbox");
  readonly feeds: Record<string, NdArray> = {};
  readonly #random: Random;

  constructor(...seed: (string | number)[]) {
    this.#random = seededRandom(derivedSeed(...seed));
  }

  /** Standard normal numbers. */
  float(...shape: Shape): Float {
    return this.#input("float32", shape, () => Math.fround(this.#random.normal()));
  }
  /** Numbers in [0.5, 2): away from the poles of division, logarithm and square root. */
  positive(...shape: Shape): Float {
    return this.#input("float32", shape, () => Math.fround(0.5 + 1.5 * this.#random.next()));
  }
  /** Integers in [0, below). */
  int(below: number, ...shape: Shape): Int {
    return this.#input("int64", shape, () => this.#random.integer(below));
  }
  bool(...shape: Shape): Bool {
    return this.#input("bool", shape, () => this.#random.integer(2));
  }
  /** Given numbers. */
  given<D extends DType>(dtype: D, shape: Shape, data: readonly number[]): Value<D> {
    let next = 0;
    return this.#input(dtype, shape, () => data[next++]!);
  }

  /** A random shape of rank 1 to 4, sizes 1 to 4, some of them named. */
  shape(): Size[] {
    const choices: Size[] = [1, 2, 3, 4, "batch", "sequence"];
    return Array.from({ length: 1 + this.#random.integer(4) }, () => choices[this.#random.integer(choices.length)]!);
  }
  /** Shapes that broadcast to one shape: some sizes become 1, some leading axes are dropped. */
  broadcastable(count: number): Size[][] {
    const full = this.shape();
    return Array.from({ length: count }, () => {
      const missing = this.#random.integer(3) === 0 ? this.#random.integer(full.length + 1) : 0;
      return full.slice(missing).map((size) => (this.#random.integer(4) === 0 ? 1 : size));
    });
  }

  #input<D extends DType>(dtype: D, shape: Shape, draw: () => number): Value<D> {
    const value = this.graph.input(`x${Object.keys(this.feeds).length}`, dtype, shape);
    const sizes = shape.map(runtimeSize);
    this.feeds[value.name] = ndarray(dtype, sizes, Array.from({ length: elements(sizes) }, draw));
    return value;
  }
}
