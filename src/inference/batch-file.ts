/** @file A batch and its results as safetensors files, so that they can be compared with any other implementation.
 *
 *      in   input_ids, attention_mask?, decoder_input_ids?    int64 [batch, sequence]
 *           routing_bias?                                     float32 [batch, experts]: 0, or -Infinity for experts a row may not use
 *      out  logits                                            float32 [batch, sequence or targets, vocabulary]
 *           routes.<module>.experts, routes.<module>.weights  int64 and float32 [batch, sequence, k] */

import { float32Of } from "../adapters/tensor-file.ts";
import { DataError, ShapeError } from "../base/errors.ts";
import type { HostTensor } from "../base/tensor.ts";
import { openSafetensors, readTensor, type SafetensorsFile, writeSafetensors } from "../checkpoint/safetensors.ts";
import { ROW_BIAS } from "../routing/mixture.ts";
import { routeNames } from "../routing/route-names.ts";
import { type Batch, checkBatch } from "./batch.ts";
import type { ForwardResult } from "./runner.ts";

const NAMES = ["input_ids", "attention_mask", "decoder_input_ids"];

export interface ReadBatch {
  readonly batch: Batch;
  /** Tensors of the file that a batch does not use. */
  readonly ignored: readonly string[];
}

/** Reads a batch and checks that its tensors fit each other. */
export async function readBatch(path: string): Promise<ReadBatch> {
  const file = await openSafetensors(path);
  const [inputIds, attentionMask, decoderInputIds] = await Promise.all(NAMES.map((name) => readIds(file, name)));
  if (!inputIds) {
    throw new DataError({
      code: "data-bad-tensor",
      what: `There is no tensor "input_ids"; the file has ${[...file.tensors.keys()].join(", ") || "none"}.`,
      where: path,
      fix: "Store the token ids as input_ids, int64 [batch, sequence].",
    });
  }
  const routingBias = await readBias(file);
  const batch = {
    inputIds,
    ...(attentionMask && { attentionMask }),
    ...(decoderInputIds && { decoderInputIds }),
    ...(routingBias && { routingBias }),
  };
  try {
    checkBatch(batch);
  } catch (error) {
    if (!(error instanceof ShapeError)) throw error;
    throw new DataError({ code: "data-bad-tensor", what: error.what, where: path, fix: error.fix, cause: error });
  }
  return { batch, ignored: [...file.tensors.keys()].filter((name) => name !== ROW_BIAS && !NAMES.includes(name)) };
}

async function readBias(file: SafetensorsFile): Promise<HostTensor<"float32"> | undefined> {
  const info = file.tensors.get(ROW_BIAS);
  return info && float32Of(ROW_BIAS, await readTensor(info), file.path);
}

async function readIds(file: SafetensorsFile, name: string): Promise<HostTensor<"int64"> | undefined> {
  const info = file.tensors.get(name);
  if (!info) return undefined;
  const { dtype, shape } = info;
  if (dtype !== "I64") {
    throw new DataError({
      code: "data-bad-tensor",
      what: `${name}: expected int64 (I64), got ${dtype}.`,
      where: file.path,
      fix: "Store it as int64.",
    });
  }
  const { data } = await readTensor(info);
  return { dtype: "int64", shape, data: data as BigInt64Array }; // I64 is read as int64
}

/** Writes the logits and, if there are any, the routes. */
export async function writeForward(path: string, { logits, routes }: ForwardResult): Promise<void> {
  const tensors = new Map<string, HostTensor>([["logits", logits]]);
  for (const [module, { experts, weights }] of routes ?? []) {
    const names = routeNames(module);
    tensors.set(names.experts, experts).set(names.weights, weights);
  }
  await writeSafetensors(path, tensors);
}
