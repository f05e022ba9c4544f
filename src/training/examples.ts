/** @file Encodes training examples as token ids. The loss covers only the answer: the target, the completion, or the assistant's turns.
 *  Plain text is learned whole. */

import { counted } from "../base/counted.ts";
import { DataError } from "../base/errors.ts";
import { asPair } from "../data/chat-data.ts";
import type { TrainingExample } from "../data/training-data.ts";
import type { Architecture } from "../models/architecture.ts";
import { learnedSequences } from "../text/learned-turns.ts";
import { answerIds, withoutEnd } from "../text/prompt-ids.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { Encoded } from "./batches.ts";
import { IGNORED } from "./loss.ts";

/** Where examples are cut. */
export interface EncodeLimits {
  /** Longest input in tokens; with a decoder-only model, input and target together. */
  readonly maxInput: number;
  /** Longest target of an encoder-decoder model. */
  readonly maxTarget: number;
  /** The date for chat templates that write one. Default: now. */
  readonly date?: Date | undefined;
}
/** Examples in token ids, and what became of the others. */
export interface EncodedSet {
  readonly examples: readonly Encoded[];
  /** For each of `examples`, the index of its row: one chat may give several examples. */
  readonly rows: readonly number[];
  /** Examples that were cut to fit. */
  readonly truncated: number;
  /** Examples left out because nothing to learn remained after the cut. */
  readonly emptied: number;
  /** Rows left out because they mark all of their answers as not learned. */
  readonly unlearned: number;
  /** Answers that carry loss: turns of the assistant, targets, texts. */
  readonly answers: number;
  /** Whether chats are among the rows. */
  readonly hasChats: boolean;
  /** Tokens, and those of them that carry loss. */
  readonly tokens: { readonly all: number; readonly learned: number };
  /** Token ids that end the turns of its chats. */
  readonly turnEnds: readonly number[];
  /** Notes, each once with its count. */
  readonly notes: readonly string[];
  /** For the first rows of a large file: how many they are, and how many there are. */
  readonly excerpt?: { readonly rows: number; readonly of: number };
}

/** Token ids of every example. Examples above the limits are cut and counted. */
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
  const notes = new Map<string, number>();
  const onNote = (note: string): void => void notes.set(note, (notes.get(note) ?? 0) + 1);
  const encoded = examples.flatMap((example, row) =>
    encodedRow(example, { ...limits, tokenizer, architecture, where: whereOf(example, row), onNote }).map((cut) => ({ ...cut, row })),
  );
  const learnable = encoded.filter(hasLearned);
  if (learnable.length === 0) throw nothingToLearn(encoded.length, limits);
  return {
    examples: learnable.map(({ inputs, labels }) => ({ inputs, labels })),
    rows: learnable.map(({ row }) => row),
    truncated: encoded.filter(({ isCut }) => isCut).length,
    emptied: encoded.length - learnable.length,
    unlearned: examples.filter((example) => !isLearned(example)).length,
    answers: total(learnable, ({ answers }) => answers),
    hasChats: examples.some(({ kind }) => kind === "messages"),
    tokens: { all: total(learnable, ({ inputs }) => inputs.length + 1), learned: total(learnable, learnedTokens) },
    turnEnds: [...new Set(learnable.flatMap(({ turnEnds = [] }) => turnEnds))],
    notes: noteLines(notes),
  };
}

/** What one row is encoded for. */
export interface EncodingPlace extends Place {
  readonly tokenizer: Tokenizer;
  readonly architecture: Pick<Architecture, "kind">;
}

/** The sequences of one row; none if it says that nothing of it is learned. */
export function encodedRow(example: TrainingExample, place: EncodingPlace): Cut[] {
  if (!isLearned(example)) return [];
  const { tokenizer, architecture } = place;
  return architecture.kind === "encoder-decoder" ? [encodePair(example, tokenizer, place)] : encodeSequences(example, tokenizer, place);
}

/** Refuses an example that the model cannot learn in its form, as `encodedRow` does. Only chats need their tokens for that. */
export function checkEncodable(example: TrainingExample, place: EncodingPlace): void {
  if (!isLearned(example)) return;
  if (place.architecture.kind === "encoder-decoder") pairOf(example, place.where);
  else if (example.kind === "messages") encodeSequences(example, place.tokenizer, place);
}

/** Whether something is left to learn. */
export function hasLearned({ labels }: Encoded): boolean {
  return labels.some((label) => label !== IGNORED);
}

/** Notes with their counts, as sentences. */
export function noteLines(notes: ReadonlyMap<string, number>): string[] {
  return [...notes].map(([note, count]) => `${note} (${counted(count, "time")}).`);
}

function total<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((sum, item) => sum + of(item), 0);
}

function learnedTokens({ labels }: Encoded): number {
  return labels.filter((label) => label !== IGNORED).length;
}

/** The error for examples of which nothing can be learned, after `encoded` of them were encoded. */
export function nothingToLearn(encoded: number, { maxInput }: Pick<EncodeLimits, "maxInput">): DataError {
  if (encoded === 0) {
    const what = "The data says of every answer that it is not to be learned (weight 0, loss false or train false).";
    return new DataError({ code: "data-empty-answer", what, fix: "Let some be learned." });
  }
  return new DataError({
    code: "data-nothing-to-learn",
    data: { option: "maxLength", expected: maxInput },
    what: `After the cut to ${maxInput} tokens no example has anything left to learn from.`,
    fix: "Allow longer examples (`maxLength`), or shorten the prompts.",
  });
}

/** Whether a row has an answer that is learned. */
export function isLearned(example: TrainingExample): boolean {
  return example.kind !== "messages" || example.messages.some(({ role }, i) => role === "assistant" && !example.unlearned?.includes(i));
}

function whereOf(example: TrainingExample, row: number): string {
  return (example.kind === "messages" ? example.where : undefined) ?? `example ${row + 1}`;
}

/** An encoded sequence, cut to the limits. */
export interface Cut extends Encoded {
  readonly isCut: boolean;
  /** Answers that carry loss. */
  readonly answers: number;
  readonly turnEnds?: readonly number[] | undefined;
}
interface Place extends EncodeLimits {
  /** The example, for messages. */
  readonly where: string;
  readonly onNote: (note: string) => void;
}

function encodePair(example: TrainingExample, tokenizer: Tokenizer, { maxInput, maxTarget, where }: Place): Cut {
  const { input, target } = pairOf(example, where);
  const { eosId } = tokenizer;
  // The cut keeps the end-of-sequence token, as in the authors' code.
  const cut = (ids: number[], limit: number) =>
    ids.length <= limit ? ids : eosId === undefined ? ids.slice(0, limit) : [...ids.slice(0, limit - 1), eosId];
  const [inputs, labels] = [tokenizer.encode(input), withEnd(tokenizer.encode(target), tokenizer)];
  const isCut = inputs.length > maxInput || labels.length > maxTarget;
  return { inputs: cut(inputs, maxInput), labels: cut(labels, maxTarget), isCut, answers: 1 };
}

/** The encoder's input and the decoder's target. */
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

function encodeSequences(row: TrainingExample, tokenizer: Tokenizer, place: Place): Cut[] {
  const example = tokenizer.chatTemplates.size === 0 ? withoutTemplate(row) : row;
  return sequencesOf(example, tokenizer, place).map((sequence) => cutSequence(sequence, example, place));
}

interface Sequence {
  readonly ids: readonly number[];
  readonly mask: readonly boolean[];
  readonly turns: number;
  readonly turnEnds?: readonly number[];
}

function cutSequence({ ids, mask, turns, turnEnds }: Sequence, { kind }: TrainingExample, { maxInput }: EncodeLimits): Cut {
  const over = Math.max(0, ids.length - maxInput - 1);
  // A prompt is cut at its beginning, as in evaluation, but keeps its last token. Then the answer is cut at its end.
  const start = kind === "pair" ? Math.max(0, Math.min(over, mask.indexOf(true) - 1)) : 0;
  const kept = ids.slice(start, start + maxInput + 1);
  return {
    inputs: kept.slice(0, -1),
    labels: kept.slice(1).map((id, i) => (mask[start + i + 1] ? id : IGNORED)),
    isCut: over > 0,
    answers: turns,
    turnEnds,
  };
}

/** A chat for a model without a chat template: a prompt and its answer, if the chat's format defines the prompt. */
function withoutTemplate(example: TrainingExample): TrainingExample {
  const pair = example.kind === "messages" && example.prompt !== undefined ? asPair(example) : undefined;
  return pair ? { kind: "pair", ...pair, joined: true } : example;
}

/** The sequences of an example for a decoder-only model, and which of their tokens count. */
function sequencesOf(example: TrainingExample, tokenizer: Tokenizer, { where, date, onNote }: Place): readonly Sequence[] {
  if (example.kind === "messages") return learnedSequences(tokenizer, { ...example, where, date, onNote });
  if (example.kind === "text") {
    const ids = withEnd(tokenizer.encode(example.text), tokenizer);
    return [{ ids, mask: ids.map(() => true), turns: 1 }];
  }
  const { input, target, joined } = example;
  const prompt = withoutEnd(tokenizer.encode(input), tokenizer);
  const said = withEnd(answerIds(tokenizer, { prompt: input, answer: target, joined }), tokenizer);
  return [{ ids: [...prompt, ...said], mask: [...prompt.map(() => false), ...said.map(() => true)], turns: 1 }];
}

function withEnd(ids: number[], { eosId }: Tokenizer): number[] {
  return eosId === undefined || ids.at(-1) === eosId ? ids : [...ids, eosId];
}
