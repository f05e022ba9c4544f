/** @file Texts as token ids to learn from. Loss falls on the answer only: the target, the completion, the assistant's turns;
 *  plain text is learned whole. */

import { DataError } from "../base/errors.ts";
import { asPair } from "../data/chat-data.ts";
import type { TrainingExample } from "../data/training-data.ts";
import type { Architecture } from "../models/architecture.ts";
import { assistantSpans } from "../text/chat.ts";
import { answerIds, withoutEnd } from "../text/prompt-ids.ts";
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
  /** Examples left out, because nothing to learn was left of them after the cut. */
  readonly emptied: number;
}

/** Token ids of every example; what is longer than the limits is cut and counted. */
export function encodeExamples(
  examples: readonly TrainingExample[],
  tokenizer: Tokenizer,
  architecture: Architecture,
  limits: EncodeLimits,
): EncodedSet {
  if (examples.length === 0)
    throw new DataError({
      code: "data-empty",
      what: "There are no examples to learn from.",
      fix: "Give a dataset with at least one example.",
    });
  const encode = architecture.kind === "encoder-decoder" ? encodePair : encodeSequence;
  const encoded = examples.map((example, i) => encode(example, tokenizer, { ...limits, where: `example ${i + 1}` }));
  const learnable = encoded.filter(({ labels }) => labels.some((label) => label !== IGNORED));
  if (learnable.length === 0)
    throw new DataError({
      code: "data-nothing-to-learn",
      data: { option: "maxLength", expected: limits.maxInput },
      what: `After the cut to ${limits.maxInput} tokens no example has anything left to learn from.`,
      fix: "Allow longer examples (`maxLength`), or shorten the prompts.",
    });
  return {
    examples: learnable.map(({ inputs, labels }) => ({ inputs, labels })),
    truncated: encoded.filter(({ isCut }) => isCut).length,
    emptied: encoded.length - learnable.length,
  };
}

interface Cut extends Encoded {
  readonly isCut: boolean;
}
interface Place extends EncodeLimits {
  /** The example, for messages. */
  readonly where: string;
}

function encodePair(example: TrainingExample, tokenizer: Tokenizer, { maxInput, maxTarget, where }: Place): Cut {
  const { input, target } = pairOf(example, where);
  const { eosId } = tokenizer;
  // The end-of-sequence token survives the cut, as in the authors' code.
  const cut = (ids: number[], limit: number) =>
    ids.length <= limit ? ids : eosId === undefined ? ids.slice(0, limit) : [...ids.slice(0, limit - 1), eosId];
  const [inputs, labels] = [tokenizer.encode(input), withEnd(tokenizer.encode(target), tokenizer)];
  return { inputs: cut(inputs, maxInput), labels: cut(labels, maxTarget), isCut: inputs.length > maxInput || labels.length > maxTarget };
}

/** What an encoder reads and its decoder says. */
function pairOf(example: TrainingExample, where: string): { input: string; target: string } {
  if (example.kind === "pair") return example;
  const pair = example.kind === "messages" ? asPair(example) : undefined;
  if (pair) return pair;
  if (example.kind === "text") {
    const fix = 'Write rows as {"input": text, "target": text}.';
    throw new DataError({
      code: "data-not-for-encoder-decoder",
      what: "An encoder-decoder model learns from an input and a target, not from plain text.",
      where,
      fix,
    });
  }
  throw new DataError({
    code: "data-not-for-encoder-decoder",
    what: `An encoder-decoder model learns from one question and its answer, not from a longer chat or one with tools (roles: ${example.messages.map(({ role }) => role).join(", ")}).`,
    where,
    fix: 'Write each answer as a row of its own, with all that was said before it as the input: {"input": text, "target": text}.',
  });
}

function encodeSequence(row: TrainingExample, tokenizer: Tokenizer, { maxInput }: EncodeLimits): Cut {
  const example = tokenizer.chatTemplates.size === 0 ? withoutTemplate(row) : row;
  const { ids, learned } = sequenceOf(example, tokenizer);
  const over = Math.max(0, ids.length - maxInput - 1);
  // A prompt gives way at its beginning, as in evaluation, all but the token the answer follows; the rest at its end.
  const start = example.kind === "pair" ? Math.max(0, Math.min(over, learned.indexOf(true) - 1)) : 0;
  const kept = ids.slice(start, start + maxInput + 1);
  return {
    inputs: kept.slice(0, -1),
    labels: kept.slice(1).map((id, i) => (learned[start + i + 1] ? id : IGNORED)),
    isCut: over > 0,
  };
}

/** A chat as a model without a chat template learns it: as a prompt and its answer, where its format says by what prompt. */
function withoutTemplate(example: TrainingExample): TrainingExample {
  const pair = example.kind === "messages" && example.prompt !== undefined ? asPair(example) : undefined;
  return pair ? { kind: "pair", ...pair, joined: true } : example;
}

/** The whole sequence a decoder-only model reads, and which of its tokens count. */
function sequenceOf(example: TrainingExample, tokenizer: Tokenizer): { ids: number[]; learned: boolean[] } {
  if (example.kind === "messages") {
    const { ids, mask } = assistantSpans(tokenizer, example.messages, example.tools === undefined ? {} : { tools: example.tools as never });
    return { ids, learned: mask };
  }
  if (example.kind === "text") {
    const ids = withEnd(tokenizer.encode(example.text), tokenizer);
    return { ids, learned: ids.map(() => true) };
  }
  const { input, target, joined } = example;
  const prompt = withoutEnd(tokenizer.encode(input), tokenizer);
  const said = withEnd(answerIds(tokenizer, { prompt: input, answer: target, joined }), tokenizer);
  return { ids: [...prompt, ...said], learned: [...prompt.map(() => false), ...said.map(() => true)] };
}

function withEnd(ids: number[], { eosId }: Tokenizer): number[] {
  return eosId === undefined || ids.at(-1) === eosId ? ids : [...ids, eosId];
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
