/** @file The tokens of a conversation that a model learns: every turn of the assistant, in the form in which the model must write it.
 *
 *      prompt_i = render(messages before turn i, generation prompt)        the tokens that chat feeds
 *      answer_i = the text of render(messages through turn i) after the prompt, up to the token that ends the turn
 *
 *  A sequence prompt_i answer_i also teaches an earlier turn j if it begins with the tokens of prompt_j answer_j. If a template
 *  changes a turn when others follow it (Qwen 3 drops earlier reasoning), each such turn gets its own sequence. */

import { DataError } from "../base/errors.ts";
import { answerText, type TurnText } from "./answer-text.ts";
import type { ChatContext, ChatMessage } from "./chat.ts";
import { renderChat, templateFor } from "./chat.ts";
import { continuationIds } from "./prompt-ids.ts";
import { marksGeneration } from "./template/template.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { isControlToken, throughTurnEnd } from "./turn-end.ts";
import { unreadNames, unwrittenRoles } from "./unread.ts";

export interface LearnedSequence {
  readonly ids: readonly number[];
  /** For each token, whether it is learned. */
  readonly mask: readonly boolean[];
  /** The assistant's turns that this sequence teaches. */
  readonly turns: number;
  /** The tokens that end these turns; empty if a template ends turns by plain text. */
  readonly turnEnds: readonly number[];
}
export interface TurnsRequest extends ChatContext {
  readonly messages: readonly ChatMessage[];
  /** Indices of turns of the assistant that are read but not learned. */
  readonly unlearned?: readonly number[] | undefined;
  /** The row, for messages. */
  readonly where: string;
  /** Called with notes about a turn for the user. */
  readonly onNote?: ((note: string) => void) | undefined;
}

interface Turn {
  readonly index: number;
  readonly text: TurnText;
  readonly prompt: readonly number[];
  readonly answer: readonly number[];
  /** For each token of the answer, whether it is learned. */
  readonly learned: readonly boolean[];
}

/** The sequences that teach a conversation, in its order; empty if no turn is learned. */
export function learnedSequences(tokenizer: Tokenizer, request: TurnsRequest): LearnedSequence[] {
  const { messages, unlearned = [] } = request;
  const turns = messages.flatMap(({ role }, i) => (role === "assistant" && !unlearned.includes(i) ? [turnAt(tokenizer, request, i)] : []));
  noteUnread(tokenizer, request, turns.at(-1));
  const sequences: LearnedSequence[] = [];
  let rest = turns;
  while (rest.length > 0) {
    const { prompt, answer } = rest.at(-1)!;
    const ids = [...prompt, ...answer];
    const carried = rest.filter((turn) => isCarried(turn, ids));
    rest = rest.filter((turn) => !carried.includes(turn));
    const mask = ids.map(() => false);
    for (const { prompt, learned } of carried) mask.splice(prompt.length, learned.length, ...learned);
    sequences.unshift({ ids, mask, turns: carried.length, turnEnds: endsOf(tokenizer, carried) });
  }
  return sequences;
}

function endsOf(tokenizer: Tokenizer, turns: readonly Turn[]): readonly number[] {
  const last = turns.flatMap(({ answer, learned }) => (learned.at(-1) ? [answer.at(-1)!] : []));
  return [...new Set(last)].filter((id) => isControlToken(tokenizer, id));
}

function isCarried({ prompt, answer }: Turn, ids: readonly number[]): boolean {
  const at = prompt.length;
  return at + answer.length <= ids.length && prompt.every((id, i) => id === ids[i]) && answer.every((id, i) => id === ids[at + i]);
}

function turnAt(tokenizer: Tokenizer, request: TurnsRequest, index: number): Turn {
  const turn = request.messages.slice(0, index + 1).filter(({ role }) => role === "assistant").length;
  const where = `${request.where}, turn ${turn} of the assistant`;
  const written = located(where, () => answerText(tokenizer, { ...request, where }, index));
  const prompt = tokenizer.encode(written.prompt, { addSpecialTokens: false });
  const answer = throughTurnEnd(tokenizer, continuationIds(tokenizer, written.prompt, written.answer));
  const marks = marksGeneration(templateFor(tokenizer, request.tools));
  const learned = marks ? marked(tokenizer, written, answer) : answer.map(() => true);
  if (learned.includes(true)) return { index, text: written, prompt, answer, learned };
  throw new DataError({
    code: "data-template-refuses",
    what: "The chat template's {% generation %} blocks do not cover this turn, so nothing of it would be learned.",
    where,
    fix: "Correct the template, remove its generation tags, or give the turn weight 0.",
  });
}

/** Notes the parts of the conversation that the template does not write. The longest prompt contains all that is read. */
function noteUnread(tokenizer: Tokenizer, { onNote, ...request }: TurnsRequest, last: Turn | undefined): void {
  if (!onNote || !last) return;
  for (const name of unreadNames(tokenizer, request)) onNote(`${name} is not read by the chat template`);
  const before = { ...request, messages: request.messages.slice(0, last.index) };
  for (const role of unwrittenRoles(tokenizer, before, last.text.prompt))
    onNote(`messages of role ${role} are not written by the chat template`);
}

/** Adds the row and the turn to errors of rendering. */
function located<T>(where: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof DataError) || error.where?.startsWith(where)) throw error;
    throw new DataError({
      code: "data-template-refuses",
      what: error.what,
      where: `${where} (${error.where})`,
      fix: error.fix,
      cause: error,
    });
  }
}

/** Marks the tokens of the answer that the template marks as generated. */
function marked(tokenizer: Tokenizer, { prompt, answer, generated }: TurnText, ids: readonly number[]): boolean[] {
  const start = tokenizer.encode(prompt, { addSpecialTokens: false }).length;
  const tokensTo = (length: number): number => {
    if (length >= answer.length) return ids.length;
    const before = tokenizer.encode(prompt + answer.slice(0, length), { addSpecialTokens: false }).slice(start);
    let shared = 0;
    while (shared < before.length && before[shared] === ids[shared]) shared++;
    return shared;
  };
  const spans = generated.map((span) => [tokensTo(span.start), tokensTo(span.end)] as const);
  return ids.map((_, i) => spans.some(([from, to]) => i >= from && i < to));
}

/** The tokens of a conversation that chat feeds to generate the next turn. */
export function promptTokens(tokenizer: Tokenizer, messages: readonly ChatMessage[], context: ChatContext = {}): number[] {
  return tokenizer.encode(renderChat(tokenizer, messages, { ...context, addGenerationPrompt: true }), { addSpecialTokens: false });
}
