/** @file Conversations as the text that a chat model was trained on, through the model's own Jinja template. */

import { CheckpointError, DataError, messageOf } from "../base/errors.ts";
import { mentions, parsedTemplate, type Rendering, renderTemplate } from "./template/template.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** One message of a conversation, as chat templates read it. */
export interface ChatMessage {
  /** "system", "user", "assistant", "tool": any role that the template accepts. */
  readonly role: string;
  /** Text, or parts as in the OpenAI API. */
  readonly content?: string | readonly Readonly<Record<string, unknown>>[] | null;
  /** tool_calls, name and other fields that the template reads. */
  readonly [field: string]: unknown;
}

/** The other inputs of a template, besides the messages. */
export interface ChatContext {
  /** JSON schemas of functions the model may call. */
  readonly tools?: readonly unknown[] | undefined;
  /** Documents to answer from. */
  readonly documents?: readonly unknown[] | undefined;
  /** Variables of the template: enable_thinking and others (chat_template_kwargs). */
  readonly templateVariables?: Readonly<Record<string, unknown>> | undefined;
  /** The date for templates that write one. Default: now. */
  readonly date?: Date | undefined;
}
/** The options of rendering a conversation. */
export interface RenderOptions extends ChatContext {
  /** End with the text that opens the assistant's turn. Default false. */
  readonly addGenerationPrompt?: boolean;
}

type Templates = Pick<Tokenizer, "chatTemplates" | "specialTokens">;

/** The conversation as text. Encode it with `addSpecialTokens: false`: templates write their special tokens themselves. */
export function renderChat(tokenizer: Templates, messages: readonly ChatMessage[], options: RenderOptions = {}): string {
  return renderedChat(tokenizer, messages, options).text;
}

/** The conversation as text, and the parts of it that the template marks as generated. */
export function renderedChat(
  tokenizer: Templates,
  messages: readonly ChatMessage[],
  { addGenerationPrompt = false, tools, documents, templateVariables, date }: RenderOptions = {},
): Rendering {
  const { bos, eos, pad, unk } = tokenizer.specialTokens;
  const source = templateFor(tokenizer, tools);
  const variables = {
    ...templateVariables,
    messages: messages.map((message) => withKnownReasoning(message, source)),
    add_generation_prompt: addGenerationPrompt,
    tools: tools && tools.length > 0 ? tools : null,
    documents: documents ?? null,
    bos_token: bos ?? "",
    eos_token: eos ?? "",
    pad_token: pad ?? "",
    unk_token: unk ?? "",
  };
  parsedTemplate(source);
  try {
    return renderTemplate(source, variables, () => date ?? new Date());
  } catch (error) {
    // Usually the template's own raise_exception: roles out of order, an unknown role.
    throw new DataError({
      code: "data-template-refuses",
      what: `The model's chat template refuses this conversation: ${messageOf(error)}.`,
      where: `roles: ${messages.map(({ role }) => role).join(", ") || "none"}`,
      fix: "Use the conversation format that this model was trained on (see its model card), or another template.",
      cause: error,
    });
  }
}

/** The keys that data and templates use for the assistant's reasoning. */
export const REASONING_KEYS = ["reasoning_content", "reasoning", "thinking"] as const;

/** The message with its reasoning under the key that the template reads. */
function withKnownReasoning(message: ChatMessage, source: string): ChatMessage {
  const given = REASONING_KEYS.find((key) => message[key] !== undefined);
  if (given === undefined || mentions(source, given)) return message;
  const known = REASONING_KEYS.find((key) => mentions(source, key));
  return known === undefined ? message : { ...message, [known]: message[given] };
}

/** Throws for a model without a chat template or with one that is not valid Jinja. */
export function checkChatTemplate(tokenizer: Pick<Tokenizer, "chatTemplates">): void {
  parsedTemplate(templateFor(tokenizer));
}

/** Whether the template writes the current date, so that its texts change from day to day. */
export function writesDate(tokenizer: Pick<Tokenizer, "chatTemplates">): boolean {
  return [...tokenizer.chatTemplates.values()].some((source) => mentions(source, "strftime_now"));
}

/** The template for conversations with these tools. */
export function templateFor({ chatTemplates }: Pick<Tokenizer, "chatTemplates">, tools: ChatContext["tools"] = []): string {
  const template = (tools.length > 0 ? chatTemplates.get("tool_use") : undefined) ?? chatTemplates.get("default");
  if (template !== undefined) return template;
  const named = [...chatTemplates.keys()];
  throw new CheckpointError({
    code: "template-missing",
    what: `This model has no chat template${named.length > 0 ? ` called default (only ${named.join(", ")})` : ""}.`,
    where: "tokenizer_config.json or chat_template.jinja",
    fix: "Use a model trained for chat, write its prompt as plain text, or put the template into chat_template.jinja beside the tokenizer.",
  });
}
