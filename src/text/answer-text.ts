/** @file The text that a chat template writes for a turn of the assistant, after the turn's prompt.
 *
 *  Usually it is the text of the conversation through the turn, without the prompt. Two kinds of template differ:
 *
 *      the prompt opens with <think>, and the turn is written without its reasoning (R1)     the reasoning is restored
 *      the history changes when the turn is added (Mistral's system message)                 the answer is found by the text before it */

import { DataError } from "../base/errors.ts";
import { type ChatContext, type ChatMessage, REASONING_KEYS, renderChat, renderedChat, templateFor } from "./chat.ts";
import { mentions, type Span } from "./template/template.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { isObject } from "./tool-calls.ts";

export interface TurnText {
  readonly prompt: string;
  readonly answer: string;
  /** The parts of the answer that the template marks as generated. */
  readonly generated: readonly Span[];
}
interface Request extends ChatContext {
  readonly messages: readonly ChatMessage[];
  readonly where: string;
  readonly onNote?: ((note: string) => void) | undefined;
}
type Templates = Pick<Tokenizer, "chatTemplates" | "specialTokens">;

/** Prompt and answer of message `index`. A turn that the template does not write is refused. */
export function answerText(tokenizer: Templates, request: Request, index: number): TurnText {
  const { messages } = request;
  const message = messages[index]!;
  const prompt = renderChat(tokenizer, messages.slice(0, index), { ...request, addGenerationPrompt: true });
  const { text, generated } = renderedChat(tokenizer, messages.slice(0, index + 1), request);
  const answer = text.startsWith(prompt) ? text.slice(prompt.length) : rejoined(prompt, text, request, index);
  const shift = text.endsWith(answer) ? text.length - answer.length : Number.POSITIVE_INFINITY;
  checkCalls(answer, message, request.where);
  checkContent(tokenizer, request, { index, answer });
  const spans = generated
    .map(({ start, end }) => ({ start: Math.max(0, start - shift), end: end - shift }))
    .filter(({ start, end }) => end > start);
  // If the answer's text was assembled here, all of it counts as generated.
  return { prompt, answer, generated: Number.isFinite(shift) ? spans : [{ start: 0, end: answer.length }] };
}

/** The answer if the text of the conversation does not begin with its prompt. */
function rejoined(prompt: string, text: string, { messages, where, onNote }: Request, index: number): string {
  for (const pattern of [/<(\w+)>(\s*)$/, /<(\w+)>\s*<\/\1>\s*$/]) {
    const opening = pattern.exec(prompt);
    if (!opening || !text.startsWith(prompt.slice(0, opening.index))) continue;
    const rest = text.slice(opening.index);
    const [, tag = "", gap] = opening;
    // Without a gap the prompt has already closed the reasoning.
    return gap === undefined ? rest.trimStart() : withReasoning({ tag, gap }, { rest, message: messages[index]!, onNote });
  }
  const anchor = anchorOf(prompt, text, messages[index - 1]?.content);
  if (anchor !== undefined) return text.slice(text.lastIndexOf(anchor) + anchor.length);
  const shared = sharedLength(prompt, text);
  throw new DataError({
    code: "data-template-unstable",
    what: `The chat template opens an answer with ${JSON.stringify(prompt.slice(shared).slice(-60))}, but writes this one without it (${JSON.stringify(text.slice(shared, shared + 60))}): the text that the model must learn cannot be determined.`,
    where,
    fix: "Remove the row, or use a template that writes an answer after its own generation prompt.",
  });
}

/** The longest end of the prompt that also occurs in the text: at least the part after the previous message, which opens the answer. */
function anchorOf(prompt: string, text: string, before: ChatMessage["content"]): string | undefined {
  const said = typeof before === "string" ? before.trim() : "";
  const least = said === "" || !prompt.includes(said) ? LEAST_ANCHOR : prompt.length - prompt.lastIndexOf(said) - said.length;
  const longest = Math.min(prompt.length, least + MOST_CONTENT);
  for (let length = longest; length >= Math.max(1, least); length--) {
    if (text.includes(prompt.slice(-length))) return prompt.slice(-length);
  }
  return undefined;
}
const LEAST_ANCHOR = 24; // characters: longer than any opening of a turn
const MOST_CONTENT = 100; // characters of the previous message, which distinguish its place from others

interface Opening {
  readonly tag: string;
  /** White space after the tag. */
  readonly gap: string;
}

/** An answer to a prompt that opened the reasoning: its reasoning, the closing tag, and the text that the template writes. */
function withReasoning(
  opening: Opening,
  { rest, message, onNote }: { rest: string; message: ChatMessage; onNote: Request["onNote"] },
): string {
  const found = reasoningOf(message, opening);
  if (!found)
    onNote?.(`answers without reasoning are learned after an empty reasoning, since the chat template opens each with <${opening.tag}>`);
  const { reasoning, gap } = found ?? { reasoning: "\n", gap: "\n\n" };
  return `${reasoning}</${opening.tag}>${gap}${rest.trimStart()}`;
}

/** The assistant's reasoning before this answer, from its own field or from the content, and the white space after it. */
function reasoningOf(message: ChatMessage, opening: Opening): { reasoning: string; gap: string } | undefined {
  const own = REASONING_KEYS.map((key) => message[key]).find((value) => typeof value === "string");
  if (typeof own === "string") return { reasoning: `${own.replace(/^\n+|\n+$/g, "")}\n`, gap: "\n\n" };
  const content = typeof message.content === "string" ? message.content : "";
  const [, tag, before, gap = ""] = new RegExp(`^\\s*(<${opening.tag}>)?([\\s\\S]*?)</${opening.tag}>(\\s*)`).exec(content) ?? [];
  if (before === undefined) return undefined;
  const isRepeated = tag !== undefined && before.startsWith(opening.gap); // the prompt already contains the tag and this white space
  return { reasoning: isRepeated ? before.slice(opening.gap.length) : before, gap };
}

/** A template that does not write tool calls would teach an answer without them, most often an empty one. */
function checkCalls(answer: string, { tool_calls: calls }: ChatMessage, where: string): void {
  if (!Array.isArray(calls)) return;
  const names = calls.flatMap((call) => (isObject(call) ? [isObject(call.function) ? call.function.name : call.name] : []));
  const missing = names.find((name) => typeof name === "string" && !answer.includes(name));
  if (missing === undefined) return;
  throw new DataError({
    code: "data-template-refuses",
    what: `The chat template does not write this turn's call of ${String(missing)}: the turn would be learned without it.`,
    where,
    fix: "Remove the row, or use a model whose chat template writes tool calls.",
  });
}

/** Checks that the answer contains the turn's text, and notes the parts that the template omits on purpose. */
function checkContent(tokenizer: Templates, request: Request, { index, answer }: { index: number; answer: string }): void {
  const { messages, where, onNote } = request;
  const message = messages[index]!;
  const content = typeof message.content === "string" ? message.content : "";
  const [thought, said] = split(content);
  const isRead = REASONING_KEYS.some((key) => mentions(templateFor(tokenizer, request.tools), key)); // else its field is noted as unread
  const reasoning = isRead ? REASONING_KEYS.map((key) => message[key]).find((value) => typeof value === "string") : undefined;
  for (const part of [thought, typeof reasoning === "string" ? reasoning.trim() : ""]) {
    if (part !== "" && !answer.includes(part)) onNote?.("reasoning is not written by the chat template, so it is not learned");
  }
  if (said === "" || answer.includes(said) || writesProbe(tokenizer, request, index)) return;
  if (message.tool_calls !== undefined) {
    onNote?.("text beside a tool call is not written by the chat template, so it is not learned");
    return;
  }
  throw new DataError({
    code: "data-template-refuses",
    what: "The chat template does not write the assistant's text in this turn, so the turn cannot be learned.",
    where,
    fix: "Remove the row, or write the turn in the form that the template expects.",
  });
}

/** The reasoning within a content, and the text after it. */
function split(content: string): readonly [string, string] {
  const [, thought = "", said = content] = /^\s*<(\w+)>([\s\S]*?)<\/\1>([\s\S]*)$/.exec(content)?.slice(1) ?? [];
  return [thought.trim(), said.trim()];
}

const PROBE = "skein-probe";

/** Whether the template writes the turn's content, possibly changed: another content gives another text. */
function writesProbe(tokenizer: Templates, request: Request, index: number): boolean {
  const messages = [...request.messages.slice(0, index), { ...request.messages[index]!, content: PROBE }];
  return renderChat(tokenizer, messages, request).includes(PROBE);
}

function sharedLength(a: string, b: string): number {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length++;
  return length;
}
