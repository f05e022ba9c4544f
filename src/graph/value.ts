/** @file Values, nodes and graphs as types. A value is an edge of a graph: it has a dtype and a shape, and its numbers exist only when the
 *
 *  graph runs. `createGraph` (graph.ts) makes a graph; other code needs only these types. */

import type { HostTensor } from "../base/tensor.ts";
import type { OpAttributes, OpType } from "./operators.ts";
import type { DType, Shape } from "./sizes.ts";

export interface Value<D extends DType = DType> {
  readonly graph: Graph;
  readonly name: string;
  readonly dtype: D;
  readonly shape: Shape;
}
export type Float = Value<"float32">;
export type Int = Value<"int64">;
export type Bool = Value<"bool">;

/** One application of an operator. */
export interface Node<Op extends OpType = OpType> {
  readonly op: Op;
  readonly inputs: readonly (Value | undefined)[];
  readonly attributes: OpAttributes[Op];
  readonly outputs: readonly Value[];
  /** Where in the model it was made: "decoder.block.0.layer.1". Empty outside any scope. */
  readonly scope: string;
}

/** Where the bytes of an initializer are in a checkpoint file. */
export interface FileRegion {
  readonly file: string;
  readonly offset: number;
  readonly bytes: number;
}

export type Initializer =
  | { readonly value: Value; readonly kind: "file"; readonly region: FileRegion }
  | { readonly value: Value; readonly kind: "inline"; readonly tensor: HostTensor };

/** The dtypes of constants. */
export type ConstantDType = "float32" | "int64" | "int32" | "bool" | "uint8" | "int8";

/** A graph under construction. */
export interface Graph {
  readonly name: string;
  readonly nodes: readonly Node[];
  readonly inputs: ReadonlyMap<string, Value>;
  readonly outputs: ReadonlyMap<string, Value>;
  readonly initializers: ReadonlyMap<string, Initializer>;
  /** The node that computes `value`; none for inputs and initializers. */
  producer(value: Value): Node | undefined;
  /** Declares a feed. A second call with the same name returns the same value. */
  input<D extends DType>(name: string, dtype: D, shape: Shape): Value<D>;
  float(name: string, ...shape: Shape): Float;
  int(name: string, ...shape: Shape): Int;
  /** A tensor whose bytes stay in the checkpoint file. */
  file<D extends DType>(name: string, dtype: D, shape: Shape, region: FileRegion): Value<D>;
  /** A small tensor that is stored inside the graph; equal constants are one value. */
  constant<D extends ConstantDType>(tensor: HostTensor<D>): Value<D>;
  /** The inline tensor behind a constant, for shape inference and printing. */
  constantOf(value: Value): HostTensor | undefined;
  /** Names a fetch. */
  output(name: string, value: Value): void;
  /** Runs `build` with its nodes named under `scope`. */
  scope<T>(scope: string, build: () => T): T;
  /** Records one node, or finds the one that already computes this. */
  apply<Op extends OpType>(op: Op, inputs: readonly (Value | undefined)[], attributes: OpAttributes[Op]): readonly Value[];
  /** A value and axis that have the named size at run time. */
  holderOf(size: string): { readonly value: Value; readonly axis: number };
}
