/** @file Texts as token ids to learn from. Loss falls on the answer only: the target, the completion, the assistant's turns;
 *  plain text is learned whole. */

import { DataError } from "../base/errors.ts";
import type { TrainingExample } from "../data/training-data.ts";
import type { Architecture } from "../models/architecture.ts";
import { assistantSpans } from "../text/chat.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { Encoded } from "./batches.ts";
import { IGNORED } from "./loss.ts";

export interface EncodeLimits {
  /** Longest input in tokens; with a decoder-only model, input and target together. */
  readonly maxInput: number;
  /** Longest target of an encoder-decoder model. */
  readonly maxTarget: number;
}
export interface EncodedSet {
  readonly examples: readonly Encoded[];
  /** Examples that were cut to fit. */
  readonly truncated: number;
}

/** Token ids of every example; what is longer than the limits is cut and counted. */
export function encodeExamples(
  examples: readonly TrainingExample[],
  tokenizer: Tokenizer,
  architecture: Architecture,
  limits: EncodeLimits,
): EncodedSet {
  if (examples.length === 0)
    throw new DataError({ what: "There are no examples to learn from.", fix: "Give a dataset with at least one example." });
  let truncated = 0;
  const cut = (ids: number[], limit: number, end?: number): number[] => {
    if (ids.length <= limit) return ids;
    truncated++;
    return end === undefined ? ids.slice(0, limit) : [...ids.slice(0, limit - 1), end];
  };
  const encode = (example: TrainingExample): Encoded => {
    if (architecture.kind === "encoder-decoder") {
      if (example.kind !== "pair")
        throw new DataError({
          what: `An encoder-decoder model learns from pairs, not from ${example.kind}.`,
          fix: 'Write rows as {"input": ..., "target": ...}.',
        });
      // The end-of-sequence token survives the cut, as in the authors' code.
      return {
        inputs: cut(tokenizer.encode(example.input), limits.maxInput, tokenizer.eosId),
        labels: cut(withEnd(tokenizer.encode(example.target), tokenizer), limits.maxTarget, tokenizer.eosId),
      };
    }
    const { ids, learned } = sequenceOf(example, tokenizer);
    const kept = cut(ids, limits.maxInput + 1);
    return { inputs: kept.slice(0, -1), labels: kept.slice(1).map((id, i) => (learned[i + 1] ? id : IGNORED)) };
  };
  return { examples: examples.map(encode), truncated };
}

/** The whole sequence a decoder-only model reads, and which of its tokens count. */
function sequenceOf(example: TrainingExample, tokenizer: Tokenizer): { ids: number[]; learned: boolean[] } {
  if (example.kind === "messages") {
    const { ids, mask } = assistantSpans(tokenizer, example.messages, example.tools === undefined ? {} : { tools: example.tools as never });
    return { ids, learned: mask };
  }
  const prompt = example.kind === "pair" ? withoutEnd(tokenizer.encode(example.input), tokenizer) : [];
  const answer = withEnd(
    tokenizer.encode(example.kind === "pair" ? example.target : example.text, { addSpecialTokens: example.kind === "text" }),
    tokenizer,
  );
  return { ids: [...prompt, ...answer], learned: [...prompt.map(() => false), ...answer.map(() => true)] };
}

function withEnd(ids: number[], { eosId }: Tokenizer): number[] {
  return eosId === undefined || ids.at(-1) === eosId ? ids : [...ids, eosId];
}
function withoutEnd(ids: number[], { eosId }: Tokenizer): number[] {
  return eosId !== undefined && ids.at(-1) === eosId ? ids.slice(0, -1) : ids;
}

// Rows that still take examples; older ones are as good as full.
const OPEN_ROWS = 64;

/** Several short examples in one row, first fit in order; attention and positions stay within each. Decoder-only models. */
export function packed(examples: readonly Encoded[], length: number): Encoded[] {
  const rows: { inputs: number[]; labels: number[]; positions: number[]; documents: number[] }[] = [];
  for (const { inputs, labels } of examples) {
    const open = rows.slice(-OPEN_ROWS).find((candidate) => candidate.inputs.length + inputs.length <= length);
    const row = open ?? { inputs: [], labels: [], positions: [], documents: [] };
    if (!open) rows.push(row);
    const document = row.documents.length === 0 ? 0 : row.documents.at(-1)! + 1;
    row.inputs.push(...inputs);
    row.labels.push(...labels);
    row.positions.push(...inputs.keys());
    row.documents.push(...inputs.map(() => document));
  }
  return rows;
}
