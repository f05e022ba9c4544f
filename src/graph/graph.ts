/** @file A graph under construction. Operators add nodes to it; after serialization nothing changes it.
 *
 *  Nodes are hash-consed: the same operator on the same operands gives the same value. A standardized input that three
 *  projections share is computed once, and code that writes an equation need not check which values exist already. */

import { invariant, ShapeError } from "../base/errors.ts";
import type { HostTensor } from "../base/tensor.ts";
import type { OpAttributes, OpType } from "./operators.ts";
import { inferred } from "./shapes.ts";
import type { DType, Shape } from "./sizes.ts";
import type { ConstantDType, FileRegion, Float, Graph, Initializer, Int, Node, Value } from "./value.ts";

/** An empty graph. */
export function createGraph(name: string): Graph {
  return new RecordedGraph(name);
}

class RecordedGraph implements Graph {
  readonly name: string;
  readonly #nodes: Node[] = [];
  readonly #inputs = new Map<string, Value>();
  readonly #outputs = new Map<string, Value>();
  readonly #initializers = new Map<string, Initializer>();
  readonly #constants = new Map<Value, HostTensor>();
  readonly #producers = new Map<Value, Node>();
  readonly #known = new Map<string, Node>();
  readonly #sizes = new Map<string, { value: Value; axis: number }>();
  #scope = "";
  #count = 0;

  constructor(name: string) {
    this.name = name;
  }

  get nodes(): readonly Node[] {
    return this.#nodes;
  }
  get inputs(): ReadonlyMap<string, Value> {
    return this.#inputs;
  }
  get outputs(): ReadonlyMap<string, Value> {
    return this.#outputs;
  }
  get initializers(): ReadonlyMap<string, Initializer> {
    return this.#initializers;
  }

  producer(value: Value): Node | undefined {
    return this.#producers.get(value);
  }

  input<D extends DType>(name: string, dtype: D, shape: Shape): Value<D> {
    const known = this.#inputs.get(name);
    if (known) {
      invariant(known.dtype === dtype && String(known.shape) === String(shape), `input ${name} is declared twice with different types`);
      return known as Value<D>;
    }
    invariant(!this.#initializers.has(name), `${name} is both an input and an initializer`);
    const value = this.#value(name, dtype, shape);
    this.#inputs.set(name, value);
    return value;
  }
  float(name: string, ...shape: Shape): Float {
    return this.input(name, "float32", shape);
  }
  int(name: string, ...shape: Shape): Int {
    return this.input(name, "int64", shape);
  }

  file<D extends DType>(name: string, dtype: D, shape: Shape, region: FileRegion): Value<D> {
    const known = this.#initializers.get(name);
    if (known) {
      const same = known.kind === "file" && known.value.dtype === dtype && String(known.value.shape) === String(shape);
      invariant(
        same && known.region.file === region.file && known.region.offset === region.offset,
        `initializer ${name} is declared twice`,
      );
      return known.value as Value<D>;
    }
    invariant(!this.#inputs.has(name), `${name} is both an input and an initializer`);
    const value = this.#value(name, dtype, shape);
    this.#initializers.set(name, { value, kind: "file", region });
    return value;
  }

  constant<D extends ConstantDType>(tensor: HostTensor<D>): Value<D> {
    const { buffer, byteOffset, byteLength } = tensor.data;
    const bytes = new TextDecoder("latin1").decode(new Uint8Array(buffer, byteOffset, byteLength)); // one character per byte
    const name = `const:${tensor.dtype}[${tensor.shape}]${bytes}`;
    const known = this.#initializers.get(name);
    if (known) return known.value as Value<D>;
    const value = this.#value(`const_${this.#count++}`, tensor.dtype as D, tensor.shape);
    this.#initializers.set(name, { value, kind: "inline", tensor });
    this.#constants.set(value, tensor);
    return value;
  }

  constantOf(value: Value): HostTensor | undefined {
    return this.#constants.get(value);
  }

  output(name: string, value: Value): void {
    invariant(value.graph === this, `output ${name} belongs to another graph`);
    invariant(!this.#outputs.has(name), `output ${name} is declared twice`);
    const namesake = this.#inputs.get(name) ?? this.#initializers.get(name)?.value;
    invariant(!namesake || namesake === value, `output ${name} has the name of another value`);
    this.#outputs.set(name, value);
  }

  scope<T>(scope: string, build: () => T): T {
    const outer = this.#scope;
    this.#scope = scope;
    try {
      return build();
    } finally {
      this.#scope = outer;
    }
  }

  apply<Op extends OpType>(op: Op, inputs: readonly (Value | undefined)[], attributes: OpAttributes[Op]): readonly Value[] {
    for (const input of inputs) invariant(!input || input.graph === this, `${op}: operand ${input?.name} belongs to another graph`);
    const key = `${op}(${inputs.map((value) => value?.name ?? "").join(",")})${JSON.stringify(attributes)}`;
    const known = this.#known.get(key);
    if (known) return known.outputs;
    const types = inferred(op, inputs, attributes);
    const outputs = types.map(({ dtype, shape }) => this.#value(`${op.toLowerCase()}_${this.#count++}`, dtype, shape));
    const node: Node<Op> = { op, inputs, attributes, outputs, scope: this.#scope };
    this.#nodes.push(node as unknown as Node);
    this.#known.set(key, node as unknown as Node);
    for (const output of outputs) this.#producers.set(output, node as unknown as Node);
    return outputs;
  }

  holderOf(size: string): { readonly value: Value; readonly axis: number } {
    const holder = this.#sizes.get(size);
    if (!holder)
      throw new ShapeError({
        code: "shape-size-unknown",
        what: `no value of graph ${this.name} has a size named "${size}".`,
        fix: "Name the size in an input's shape first.",
      });
    return holder;
  }

  #value<D extends DType>(name: string, dtype: D, shape: Shape): Value<D> {
    const value: Value<D> = { graph: this, name, dtype, shape };
    shape.forEach((size, axis) => {
      if (typeof size === "string" && !this.#sizes.has(size)) this.#sizes.set(size, { value, axis });
    });
    return value;
  }
}
