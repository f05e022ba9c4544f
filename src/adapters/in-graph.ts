/** @file Adapters of any kind in a graph. Their tensors are feeds with names, so numbers can change or learn while the graph stays the
 *  same. While PHATGOOSE trains a gate (Muqeeth et al. 2024, arXiv:2402.05859), g = sigmoid(vᵀ x) with x the module's own input:
 *
 *    LoRA        y = W x + scaling B A (g x); on a table of embeddings E[id] + scaling B A[:, id], without a gate
 *    (IA)3       y = (1 + g (scale - 1)) * (W x), likewise on the input of feed-forward modules: g scales the adapter's change
 *    bottleneck  y = W x + up(activation(down(g x))), or h + up(activation(down(g h))): g scales the input, as the authors' code does */

import { invariant } from "../base/errors.ts";
import type { HostTensor } from "../base/tensor.ts";
import type { Float } from "../graph/value.ts";
import type { Seams } from "../models/embedding.ts";
import type { Adapter } from "./adapter.ts";
import { bottleneckInGraph } from "./bottleneck.ts";
import { ia3InGraph } from "./ia3.ts";
import type { KindInGraph } from "./kind-in-graph.ts";
import { gateName, loraInGraph, trainingGate } from "./lora.ts";
import type { ModuleSizes } from "./modules.ts";

type Tensor = HostTensor<"float32">;

type Kinds = { readonly [A in Adapter as A["kind"]]: KindInGraph<A["modules"] extends ReadonlyMap<string, infer W> ? W : never> };
const KINDS: Kinds = { lora: loraInGraph, ia3: ia3InGraph, bottleneck: bottleneckInGraph };

/** The implementation of an adapter's kind. */
function kindOf(adapter: Adapter): { kind: KindInGraph<unknown>; modules: ReadonlyMap<string, unknown> } {
  return { kind: KINDS[adapter.kind] as KindInGraph<unknown>, modules: adapter.modules };
}

/** An adapter's tensors by the names of their graph inputs. */
export function adapterTensors(adapter: Adapter): Map<string, Tensor> {
  const { kind, modules } = kindOf(adapter);
  return new Map([...modules].flatMap(([module, weights]) => Object.entries(kind.tensors(module, weights))));
}

/** The adapter with its numbers replaced by those in `tensors`. */
export function withTensors<A extends Adapter>(adapter: A, tensors: ReadonlyMap<string, Tensor>): A {
  const { kind, modules } = kindOf(adapter);
  const replaced = [...modules].map(([module, weights]) => {
    const own = kind.tensors(module, weights);
    return [module, kind.withTensors(module, weights, (name) => tensors.get(name) ?? own[name]!)] as const;
  });
  return { ...adapter, modules: new Map(replaced) };
}

/** Equal keys build equal graphs. */
export function adapterGraphKey(adapter: Adapter): string {
  const { kind, modules } = kindOf(adapter);
  return `${adapter.kind} ${[...modules].map(([module, weights]) => `${module}:${kind.graphKey(weights)}`).join()}`;
}

/** `inner` with `adapter` on every module it covers; with `gated`, which embeddings do not allow, through its training gate, fed as `gateName(module)`. */
export function adapted(inner: Seams, adapter: Adapter, sizes: ModuleSizes, { gated = false } = {}): Seams {
  const { kind, modules } = kindOf(adapter);
  return {
    linear: (x, module, projection) => {
      const base = (input: Float) => inner.linear(input, module, projection);
      const [weights, size] = [modules.get(module), sizes.get(module)];
      if (weights === undefined || !size) return base(x);
      const gate = gated ? trainingGate(x, x.graph.float(gateName(module), size.in)) : undefined;
      return kind.project({ x, base, module, weights, size, gate });
    },
    embedding: (ids, module, table) => {
      const base = inner.embedding(ids, module, table);
      const [weights, size] = [modules.get(module), sizes.get(module)];
      if (weights === undefined || !size) return base;
      invariant(kind.lookUp && !gated, `a gate, or an adapter of kind ${adapter.kind}, on the embedding ${module}`);
      return kind.lookUp({ ids, base, module, weights, size });
    },
  };
}
