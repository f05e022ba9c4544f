/** @file The source of an architecture's tensors: the checkpoint's files (frozen), or graph inputs (parameters). */

import { CheckpointError, invariant } from "../base/errors.ts";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import type { TensorInfo } from "../checkpoint/safetensors.ts";
import { toFloat } from "../graph/ops/elementwise.ts";
import type { DType } from "../graph/sizes.ts";
import type { Float, Graph } from "../graph/value.ts";
import type { Weights } from "./linear.ts";

const GRAPH_DTYPES: Partial<Record<TensorInfo["dtype"], DType>> = { F32: "float32", F16: "float16", BF16: "bfloat16" };

/** Initializers that point into the checkpoint's files; nothing is read or copied. The graph converts half precision to float32. */
export function fileWeights(graph: Graph, checkpoint: Checkpoint): Weights {
  return (tensor, ...shape) => {
    const info = tensorOf(checkpoint, tensor, shape);
    const dtype = GRAPH_DTYPES[info.dtype];
    if (!dtype) {
      throw new CheckpointError({
        code: "checkpoint-dtype",
        data: { tensor, dtype: info.dtype },
        what: `Tensor ${tensor} has dtype ${info.dtype}.`,
        where: info.file,
        fix: `A base model's tensors must be one of ${Object.keys(GRAPH_DTYPES).join(", ")}: save it again in one of those.`,
      });
    }
    return toFloat(graph.file(tensor, dtype, shape, { file: info.file, offset: info.offset, bytes: info.bytes }));
  };
}

/** Graph inputs with the tensors' names, for training every tensor. */
export function inputWeights(graph: Graph, onUse: (tensor: string, value: Float) => void): Weights {
  return (tensor, ...shape) => {
    const value = graph.float(tensor, ...shape);
    onUse(tensor, value);
    return value;
  };
}

function tensorOf(checkpoint: Checkpoint, name: string, shape: readonly number[]): TensorInfo {
  const info = checkpoint.tensors.get(name);
  if (!info) {
    throw new CheckpointError({
      code: "checkpoint-tensor-missing",
      data: { tensor: name },
      what: `The checkpoint has no tensor ${name}.`,
      where: checkpoint.directory,
      fix: "Export the checkpoint again; its config.json asks for this tensor.",
    });
  }
  invariant(shape.length > 0, `tensor ${name} is asked for without a shape`);
  if (String(info.shape) !== String(shape)) {
    throw new CheckpointError({
      code: "checkpoint-tensor-shape",
      data: { tensor: name, expected: shape.join(), got: info.shape.join() },
      what: `Tensor ${name} has shape [${info.shape.join(", ")}]; config.json asks for [${shape.join(", ")}].`,
      where: info.file,
      fix: "Configuration and tensors are of different models: fetch both from one place.",
    });
  }
  return info;
}
