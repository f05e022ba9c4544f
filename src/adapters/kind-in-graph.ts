/** @file The interface of a kind of adapter in a graph. */

import type { HostTensor } from "../base/tensor.ts";
import type { Float, Int } from "../graph/value.ts";

type Tensor = HostTensor<"float32">;

export interface ProjectOptions<Weights> {
  /** [batch, sequence, in] */
  readonly x: Float;
  /** The projection without the adapter. */
  readonly base: (x: Float) => Float;
  readonly module: string;
  readonly weights: Weights;
  readonly size: { readonly in: number; readonly out: number };
  /** [batch, sequence, 1], while gates are trained. */
  readonly gate?: Float | undefined;
}

export interface LookUpOptions<Weights> extends Pick<ProjectOptions<Weights>, "module" | "weights" | "size"> {
  /** int64 [batch, sequence] */
  readonly ids: Int;
  /** The embeddings without the adapter: [batch, sequence, out]. */
  readonly base: Float;
}

/** The functions of a kind of adapter. `Weights` are those of one module. */
export interface KindInGraph<Weights> {
  /** The module's tensors by the names of their graph inputs. */
  tensors(module: string, weights: Weights): Readonly<Record<string, Tensor>>;
  /** The weights with new tensors, by the same names. */
  withTensors(module: string, weights: Weights, read: (name: string) => Tensor): Weights;
  /** The part of the weights that a graph depends on. */
  graphKey(weights: Weights): string;
  /** The projection with the adapter on it: [batch, sequence, out]. */
  project(options: ProjectOptions<Weights>): Float;
  /** The embeddings with the adapter on their table: [batch, sequence, out]. Absent for kinds that adapt only projections. */
  lookUp?(options: LookUpOptions<Weights>): Float;
}
