/** @file A batch of token ids, checked before it is computed. */

import { ShapeError } from "../base/errors.ts";
import { elements, type HostTensor, int64 } from "../base/tensor.ts";
import type { Architecture } from "../models/architecture.ts";
import type { Feeds } from "../runtime/session.ts";

/** Token ids to compute, [batch, sequence], padded on either side. */
export interface Batch {
  /** int64 [batch, sequence] */
  readonly inputIds: HostTensor<"int64">;
  /** int64 [batch, sequence], 1 for real tokens; when absent, all tokens are real. */
  readonly attentionMask?: HostTensor<"int64">;
  /** int64 [batch, targets]; needed by encoder-decoder models. */
  readonly decoderInputIds?: HostTensor<"int64">;
  /** float32 [batch, experts]: added to the scores of a routed pool whose rows choose for themselves (RoutedPool's `rows`):
   *  0, or BARRED for experts a row may not use. It replaces the pool's own choice. */
  readonly routingBias?: HostTensor<"float32">;
}

export interface BatchFeeds extends Feeds {
  readonly input_ids: HostTensor<"int64">;
  readonly attention_mask: HostTensor<"int64">;
}

/** Checks each tensor of a batch, and whether the tensors fit together. */
export function checkBatch({ inputIds, attentionMask, decoderInputIds }: Batch): void {
  checkIds("input_ids", inputIds);
  if (attentionMask) {
    checkIds("attention_mask", attentionMask);
    if (String(attentionMask.shape) !== String(inputIds.shape)) {
      const what = `attention_mask is ${shown(attentionMask)}, input_ids is ${shown(inputIds)}.`;
      throw new ShapeError({ code: "shape-batch", what, fix: "Use the same [batch, sequence] for both." });
    }
    const other = attentionMask.data.find((value) => value !== 0n && value !== 1n);
    if (other !== undefined) {
      throw new ShapeError({
        code: "shape-batch",
        what: `attention_mask holds ${other}.`,
        fix: "Use 1 for real tokens and 0 for padding.",
      });
    }
  }
  if (!decoderInputIds) return;
  checkIds("decoder_input_ids", decoderInputIds);
  if (decoderInputIds.shape[0] !== inputIds.shape[0]) {
    const what = `decoder_input_ids has ${decoderInputIds.shape[0]} rows, input_ids has ${inputIds.shape[0]}.`;
    throw new ShapeError({ code: "shape-batch", what, fix: "Use the same batch size for both." });
  }
}

function checkIds(name: string, { dtype, shape, data }: HostTensor): void {
  if (dtype !== "int64")
    throw new ShapeError({ code: "shape-batch", what: `${name}: expected int64, got ${dtype}.`, fix: "Pass it as int64." });
  if (shape.length !== 2 || shape.includes(0)) {
    throw new ShapeError({
      code: "shape-batch",
      what: `${name}: expected a shape [batch, sequence] without zeros, got [${shape.join(", ")}].`,
      fix: "Pass one row per sequence, padded to one length; a single sequence has shape [1, sequence].",
    });
  }
  if (data.length === elements(shape)) return;
  throw new ShapeError({
    code: "shape-batch",
    what: `${name}: shape [${shape.join(", ")}] does not match its ${data.length} numbers.`,
    fix: "Pass one number per position.",
  });
}

function shown({ shape }: HostTensor): string {
  return `[${shape.join(", ")}]`;
}

/** The feeds of a batch for a model of this architecture. */
export function batchFeeds(batch: Batch, architecture: Architecture): BatchFeeds {
  checkBatch(batch);
  const { inputIds, attentionMask, decoderInputIds } = batch;
  const mask = attentionMask ?? int64(inputIds.shape, new BigInt64Array(inputIds.data.length).fill(1n));
  const unknown = [...inputIds.data, ...(decoderInputIds?.data ?? [])].find((id) => id < 0n || id >= architecture.vocabularySize);
  if (unknown !== undefined) {
    throw new ShapeError({
      code: "shape-token-unknown",
      data: { got: Number(unknown), expected: architecture.vocabularySize },
      what: `Token id ${unknown} is outside the vocabulary of ${architecture.vocabularySize}.`,
      fix: "Use the tokenizer that belongs to this model.",
    });
  }
  if (architecture.kind === "decoder-only") {
    checkLengths(mask, architecture.maxPositions);
    return { input_ids: inputIds, attention_mask: mask };
  }
  if (decoderInputIds) return { input_ids: inputIds, attention_mask: mask, decoder_input_ids: decoderInputIds };
  throw new ShapeError({
    code: "shape-decoder-ids-missing",
    what: "An encoder-decoder model needs decoder_input_ids.",
    fix: "Start them with the model's decoder_start_token_id.",
  });
}

/** If positions are learned, a row may not have more real tokens than there are positions. */
function checkLengths({ shape, data }: HostTensor<"int64">, limit = Number.POSITIVE_INFINITY): void {
  const [rows = 0, width = 0] = shape;
  for (let row = 0; width > limit && row < rows; row++) {
    const length = data.subarray(row * width, (row + 1) * width).filter(Boolean).length;
    if (length <= limit) continue;
    throw new ShapeError({
      code: "shape-too-long",
      data: { got: length, expected: limit },
      what: `Row ${row} has ${length} tokens; the model has ${limit} positions.`,
      fix: "Shorten the text, or use a model trained on longer texts.",
    });
  }
}
