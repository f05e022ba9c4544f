/** @file An expert: an adapter as a member of a pool, with the data that routers need. */

import type { HostTensor } from "../base/tensor.ts";
import type { Adapter } from "./adapter.ts";

/** One vector [in] per module. */
export type Gates = ReadonlyMap<string, HostTensor<"float32">>;

/** Embeddings of up to 1000 of an expert's examples. */
export interface ExampleEmbeddings {
  /** The embedder that made them; queries must use the same one. */
  readonly embedder: string;
  /** [examples, dimension], rows of unit length. */
  readonly vectors: HostTensor<"float32">;
}

/** An adapter as a member of a pool, with what routers score it by. It is never changed: training and gathering give a new one. */
export interface Expert {
  readonly name: string;
  readonly adapter: Adapter;
  /** One gate for every module of the adapter; absent before gates are trained. */
  readonly gates?: Gates;
  /** The mean input of each module over the expert's examples; absent until gathered. */
  readonly activations?: Gates;
  /** Embeddings of the expert's examples; absent until gathered. */
  readonly embeddings?: ExampleEmbeddings;
  /** Fingerprint of the base model the gates were trained on. */
  readonly baseFingerprint?: string;
  /** The files it was read from; absent for an expert made in memory. It holds for this very adapter, not for one made from it. */
  readonly source?: { readonly adapter: Adapter; readonly sha256: string };
  readonly warnings: readonly string[];
}
