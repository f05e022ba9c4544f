/** @file A batch and its results as safetensors files, so that any other implementation can be compared number by number.
 *
 *      in   input_ids, attention_mask?, decoder_input_ids?    int64 [batch, sequence]
 *      out  logits                                            float32 [batch, sequence or targets, vocabulary]
 *           routes.<module>.experts, routes.<module>.weights  int64 and float32 [batch, sequence, k] */

import { DataError } from "../base/errors.ts";
import type { HostTensor } from "../base/tensor.ts";
import { openSafetensors, readTensor, type SafetensorsFile, writeSafetensors } from "../checkpoint/safetensors.ts";
import type { Batch, ForwardResult } from "./model.ts";

const NAMES = ["input_ids", "attention_mask", "decoder_input_ids"];

export interface ReadBatch {
  readonly batch: Batch;
  /** Tensors of the file that a batch has no use for. */
  readonly ignored: readonly string[];
}

/** Reads a batch and checks that its tensors fit each other. */
export async function readBatch(path: string): Promise<ReadBatch> {
  const file = await openSafetensors(path);
  const [inputIds, attentionMask, decoderInputIds] = await Promise.all(NAMES.map((name) => readIds(file, name)));
  if (!inputIds) {
    throw new DataError({
      what: `There is no tensor "input_ids"; the file has ${[...file.tensors.keys()].join(", ") || "none"}.`,
      where: path,
      fix: "Store the token ids as input_ids, int64 [batch, sequence].",
    });
  }
  if (attentionMask) checkMask(attentionMask, inputIds, path);
  if (decoderInputIds && decoderInputIds.shape[0] !== inputIds.shape[0]) {
    throw new DataError({
      what: `decoder_input_ids has ${decoderInputIds.shape[0]} rows, input_ids has ${inputIds.shape[0]}.`,
      where: path,
      fix: "Give both the same batch size.",
    });
  }
  const batch = { inputIds, ...(attentionMask && { attentionMask }), ...(decoderInputIds && { decoderInputIds }) };
  return { batch, ignored: [...file.tensors.keys()].filter((name) => !NAMES.includes(name)) };
}

async function readIds(file: SafetensorsFile, name: string): Promise<HostTensor<"int64"> | undefined> {
  const info = file.tensors.get(name);
  if (!info) return undefined;
  const { dtype, shape } = info;
  if (dtype !== "I64") {
    throw new DataError({ what: `${name}: expected int64 (I64), got ${dtype}.`, where: file.path, fix: "Store it as int64." });
  }
  if (shape.length !== 2 || shape.includes(0)) {
    throw new DataError({
      what: `${name}: expected a shape [batch, sequence] without zeros, got [${shape.join(", ")}].`,
      where: file.path,
      fix: "Store one row per sequence, padded to one length; a single sequence has shape [1, sequence].",
    });
  }
  const { data } = await readTensor(info);
  return { dtype: "int64", shape, data: data as BigInt64Array }; // I64 is read as int64
}

function checkMask(mask: HostTensor<"int64">, ids: HostTensor<"int64">, where: string): void {
  if (String(mask.shape) !== String(ids.shape)) {
    const what = `attention_mask is [${mask.shape.join(", ")}], input_ids is [${ids.shape.join(", ")}].`;
    throw new DataError({ what, where, fix: "Give both the same [batch, sequence]." });
  }
  const other = mask.data.find((value) => value !== 0n && value !== 1n);
  if (other !== undefined) {
    throw new DataError({ what: `attention_mask holds ${other}.`, where, fix: "Use 1 for real tokens and 0 for padding." });
  }
}

/** Writes logits and, when there are any, routes. */
export async function writeForward(path: string, { logits, routes }: ForwardResult): Promise<void> {
  const tensors = new Map<string, HostTensor>([["logits", logits]]);
  for (const [module, { experts, weights }] of routes ?? []) {
    tensors.set(`routes.${module}.experts`, experts);
    tensors.set(`routes.${module}.weights`, weights);
  }
  await writeSafetensors(path, tensors);
}
