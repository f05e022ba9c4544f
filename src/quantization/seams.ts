/** @file The base model's projections and embeddings over quantized weights. All other tensors are read from the checkpoint. */

import type { TensorInfo } from "../checkpoint/safetensors.ts";
import { add, mul, toFloat } from "../graph/ops/elementwise.ts";
import { int4Matmul, int8Matmul } from "../graph/ops/linalg.ts";
import { gather, transpose, unsqueeze } from "../graph/ops/movement.ts";
import type { DType } from "../graph/sizes.ts";
import type { Float, Graph, Int, Value } from "../graph/value.ts";
import { baseSeams, type Seams } from "../models/embedding.ts";
import type { Linear, Weights } from "../models/linear.ts";
import { BLOCK } from "./int4.ts";
import type { StoredInfo } from "./store.ts";

export interface QuantizedSeamsOptions {
  readonly weights: Weights;
  readonly stored: ReadonlyMap<string, StoredInfo>;
  /** Weights for the backward pass (store.ts), by tensor. Without them, gradients use weights converted to float, which is slower. */
  readonly backward?: ReadonlyMap<string, TensorInfo> | undefined;
}

/** Projections, heads and embeddings over the weights of `stored`. */
export function quantizedSeams(graph: Graph, { weights, stored, backward }: QuantizedSeamsOptions): Seams {
  const float = baseSeams(weights);
  const linear: Linear = (x, module, projection) => {
    const { out, bias, tensor = `${module}.weight` } = projection;
    const info = stored.get(tensor);
    if (!info) return float.linear(x, module, projection);
    const y =
      info.plan.form === "blocks" ? blockProduct(graph, x, tensor, info) : channelProduct(graph, x, tensor, info, backward?.get(tensor));
    return bias ? add(y, weights(`${module}.bias`, out)) : y;
  };
  return {
    linear,
    embedding: (ids, module, table) => {
      const tensor = table.tensor ?? `${module}.weight`;
      const info = stored.get(tensor);
      return info ? rowsOfTable(graph, ids, tensor, info) : float.embedding(ids, module, table);
    },
  };
}

function channelProduct(graph: Graph, x: Float, tensor: string, { values, scales }: StoredInfo, backward: TensorInfo | undefined): Float {
  return int8Matmul(x, pointer(graph, tensor, "int8", values), {
    scales: pointer(graph, `${tensor}.scales`, "float32", scales),
    backward: backward && pointer(graph, `${tensor}.backward`, "int8", backward),
  });
}

function blockProduct(graph: Graph, x: Float, tensor: string, { plan, values, scales, zeros }: StoredInfo): Float {
  const { block = BLOCK } = plan;
  const numbers = { ...values, shape: [plan.out, Math.ceil(plan.in / block) * block] };
  const weight = {
    values: pointer(graph, tensor, "uint8", values),
    scales: pointer(graph, `${tensor}.scales`, "float32", scales),
    numbers: pointer(graph, `${tensor}.numbers`, "uint4", numbers),
    ...(zeros && {
      zeros: pointer(graph, `${tensor}.zeros`, "uint8", zeros),
      zeroNumbers: pointer(graph, `${tensor}.zeroNumbers`, "uint4", { ...zeros, shape: [plan.out, 2 * zeros.shape[1]!] }),
    }),
  };
  return int4Matmul(x, weight, plan);
}

/** scale[id] q[id]. ids: [batch, sequence] -> [batch, sequence, width] */
function rowsOfTable(graph: Graph, ids: Int, tensor: string, { plan, values, scales }: StoredInfo): Float {
  const table = pointer(graph, tensor, "int8", values);
  const found = plan.form === "rows" ? gather(table, ids) : transpose(gather(table, ids, 1), [1, 2, 0]);
  return mul(toFloat(found), unsqueeze(gather(pointer(graph, `${tensor}.scales`, "float32", scales), ids), 2));
}

function pointer<D extends DType>(graph: Graph, name: string, dtype: D, { file, offset, bytes, shape }: TensorInfo): Value<D> {
  return graph.file(name, dtype, shape, { file, offset, bytes });
}
