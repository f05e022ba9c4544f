/** @file Conversations as the text and tokens a chat model was trained on, through the model's own Jinja template.
 *
 *  For training on the assistant's turns only, assistantSpans also says which tokens those are. A token belongs to turn i when it follows
 *  what the model would be given to produce that turn, render(messages[..i], generation prompt), and lies within
 *  render(messages[..i + 1]). That holds only for templates whose renderings extend one another; the others are refused. */

import { Template } from "@huggingface/jinja";
import { CheckpointError, DataError, messageOf } from "../base/errors.ts";
import type { Tokenizer } from "./tokenizer.ts";

export interface ChatMessage {
  /** "system", "user", "assistant", "tool": whatever the template knows. */
  readonly role: string;
  /** Text, or parts as in the OpenAI API. */
  readonly content?: string | readonly Readonly<Record<string, unknown>>[] | null;
  /** tool_calls, name and what else the template reads. */
  readonly [field: string]: unknown;
}

export interface RenderOptions {
  /** End with the words that open the assistant's turn. Default false. */
  readonly addGenerationPrompt?: boolean;
  /** JSON schemas of functions the model may call. */
  readonly tools?: readonly Readonly<Record<string, unknown>>[];
}

/** The conversation as text. Encode it with `addSpecialTokens: false`: templates write their special tokens themselves. */
export function renderChat(
  tokenizer: Pick<Tokenizer, "chatTemplates" | "specialTokens">,
  messages: readonly ChatMessage[],
  { addGenerationPrompt = false, tools }: RenderOptions = {},
): string {
  const { bos, eos, pad, unk } = tokenizer.specialTokens;
  const variables = {
    messages,
    add_generation_prompt: addGenerationPrompt,
    ...(tools && tools.length > 0 ? { tools } : {}),
    bos_token: bos ?? "",
    eos_token: eos ?? "",
    pad_token: pad ?? "",
    unk_token: unk ?? "",
  };
  const template = parsedTemplate(templateFor(tokenizer, tools !== undefined && tools.length > 0));
  try {
    return template.render(variables);
  } catch (error) {
    // Most often the template's own raise_exception: roles out of order, an unknown role.
    throw new DataError({
      code: "data-template-refuses",
      what: `The model's chat template does not take this conversation: ${messageOf(error)}.`,
      where: `roles: ${messages.map(({ role }) => role).join(", ") || "none"}`,
      fix: "Give the conversation in the form this model was trained on (see its model card), or another template.",
      cause: error,
    });
  }
}

/** Refuses, before anything is said, a model without a chat template or with one that is not Jinja. */
export function checkChatTemplate(tokenizer: Pick<Tokenizer, "chatTemplates">): void {
  parsedTemplate(templateFor(tokenizer, false));
}

function templateFor({ chatTemplates }: Pick<Tokenizer, "chatTemplates">, hasTools: boolean): string {
  const template = (hasTools ? chatTemplates.get("tool_use") : undefined) ?? chatTemplates.get("default");
  if (template !== undefined) return template;
  const named = [...chatTemplates.keys()];
  throw new CheckpointError({
    code: "template-missing",
    what: `This model has no chat template${named.length > 0 ? ` called default (only ${named.join(", ")})` : ""}.`,
    where: "tokenizer_config.json or chat_template.jinja",
    fix: "Use a model trained for chat, give its prompt as plain text, or put the template into chat_template.jinja beside the tokenizer.",
  });
}

const parsedTemplates = new Map<string, Template>(); // parsing takes a hundred times longer than rendering

function parsedTemplate(source: string): Template {
  const known = parsedTemplates.get(source);
  if (known) return known;
  try {
    const template = new Template(source);
    parsedTemplates.set(source, template);
    return template;
  } catch (error) {
    throw new CheckpointError({
      code: "template-broken",
      what: `The chat template is not valid Jinja: ${messageOf(error)}.`,
      where: "tokenizer_config.json or chat_template.jinja",
      fix: "Mend the template.",
      cause: error,
    });
  }
}

export interface AssistantSpans {
  /** The whole conversation's tokens. */
  readonly ids: number[];
  /** For each token, whether the assistant said it (its end-of-turn token included). */
  readonly mask: boolean[];
}

/** The conversation's tokens, and which of them the assistant is to say. */
export function assistantSpans(
  tokenizer: Tokenizer,
  messages: readonly ChatMessage[],
  options: Pick<RenderOptions, "tools"> = {},
): AssistantSpans {
  const tokens = (text: string): number[] => tokenizer.encode(text, { addSpecialTokens: false });
  const whole = renderChat(tokenizer, messages, options);
  const ids = tokens(whole);
  const mask = ids.map(() => false);
  messages.forEach((message, i) => {
    if (message.role !== "assistant") return;
    const before = renderChat(tokenizer, messages.slice(0, i), { ...options, addGenerationPrompt: true });
    const after = renderChat(tokenizer, messages.slice(0, i + 1), options);
    const said = typeof message.content === "string" ? message.content.trim() : "";
    // Some templates end a conversation with a token that a longer one lacks, so `after` need not be a prefix to its very end.
    const shared = commonPrefix([...after], [...whole]);
    const isStable = whole.startsWith(before) && shared >= [...before].length && whole.slice(before.length, after.length).includes(said);
    if (!isStable) throw unstable(i);
    mask.fill(true, commonPrefix(tokens(before), ids), commonPrefix(tokens(after), ids));
  });
  return { ids, mask };
}

/** How many leading items two lists share. */
function commonPrefix<T>(a: readonly T[], b: readonly T[]): number {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length++;
  return length;
}

function unstable(index: number): DataError {
  return new DataError({
    code: "data-template-unstable",
    what: "The chat template writes a turn differently once later turns follow it, so the assistant's tokens cannot be told apart.",
    where: `message ${index}`,
    fix: "Split the conversation into one example for each assistant turn, or train on all tokens.",
  });
}
