/** @file Examples as token ids, and batches of them as feeds. The examples of a step depend only on the seed and the step, so a
 *  resumed run uses the same examples as an uninterrupted one. */

import { derivedSeed, seededRandom, shuffled } from "../base/random.ts";
import { int64 } from "../base/tensor.ts";
import type { Architecture } from "../models/architecture.ts";
import type { Feeds } from "../runtime/session.ts";
import { IGNORED } from "./loss.ts";

/** One example in token ids. For an encoder-decoder model `inputs` goes to the encoder and `labels` are the targets; for a
 *  decoder-only model `inputs` is the whole sequence and `labels[i]` is the token after `inputs[i]`, or IGNORED. */
export interface Encoded {
  readonly inputs: readonly number[];
  readonly labels: readonly number[];
  /** Packed rows only: position and document of each token. */
  readonly positions?: readonly number[];
  readonly documents?: readonly number[];
  /** The index of its domain, for learners that use domains. */
  readonly domain?: number;
}

export interface TrainingBatch {
  readonly feeds: Feeds;
  /** The run-time values of the named sizes. */
  readonly sizes: Readonly<Record<string, number>>;
}

/** Rows padded on the right to the longest. */
function filledUp(rows: readonly (readonly number[])[], filler: number) {
  const width = Math.max(1, ...rows.map((row) => row.length));
  return int64(
    [rows.length, width],
    rows.flatMap((row) => [...row, ...Array<number>(width - row.length).fill(filler)]),
  );
}

/** The feeds of one batch. */
export function collate(examples: readonly Encoded[], architecture: Architecture): TrainingBatch {
  const inputs = filledUp(
    examples.map((example) => example.inputs),
    0,
  );
  const mask = filledUp(
    examples.map((example) => example.inputs.map(() => 1)),
    0,
  );
  const labels = filledUp(
    examples.map((example) => example.labels),
    IGNORED,
  );
  const domains = examples.flatMap(({ domain }) => domain ?? []);
  const common = {
    input_ids: inputs,
    attention_mask: mask,
    labels,
    ...(domains.length > 0 && { domains: int64([domains.length], domains) }),
  };
  const [batch, sequence] = inputs.shape as [number, number];
  if (architecture.kind === "decoder-only") {
    const packed: Feeds = examples[0]?.positions
      ? {
          position_ids: filledUp(
            examples.map((example) => example.positions ?? []),
            0,
          ),
          document_ids: filledUp(
            examples.map((example) => example.documents ?? []),
            -1,
          ),
        }
      : {};
    return { feeds: { ...common, ...packed }, sizes: { batch, sequence } };
  }
  const decoderInputs = filledUp(
    examples.map(({ labels }) => [architecture.decoderStartId, ...labels.slice(0, -1)]),
    0,
  );
  return { feeds: { ...common, decoder_input_ids: decoderInputs }, sizes: { batch, sequence, targets: labels.shape[1]! } };
}

/** The examples of each optimizer step: epochs of the shuffled dataset, one after the other without gaps. */
export function exampleOrder<T>(dataset: readonly T[], seed: number): (step: number, batchSize: number) => T[] {
  let [current, order] = [-1, dataset];
  const at = (index: number): T => {
    const epoch = Math.floor(index / dataset.length);
    if (epoch !== current) [current, order] = [epoch, shuffled(dataset, seededRandom(derivedSeed(seed, "epoch", epoch)))];
    return order[index % dataset.length]!;
  };
  return (step, batchSize) => Array.from({ length: batchSize }, (_, i) => at(step * batchSize + i));
}
