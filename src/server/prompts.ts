/** @file Prompts as requests give them, in token ids: text, ids, or a conversation through the model's chat template. */

import type { Architecture } from "../models/architecture.ts";
import { type ChatMessage, renderChat, templateFor } from "../text/chat.ts";
import { promptIds } from "../text/prompt-ids.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { isObject, toolCalls, toolList } from "../text/tool-calls.ts";
import type { ChatPrompt, PromptInput, ToolStyle } from "./backend.ts";
import { badField, RequestProblem } from "./problem.ts";
import { callOpening } from "./tool-style.ts";

export function idsOf(input: PromptInput, tokenizer: Tokenizer, architecture: Architecture): readonly number[] {
  if ("ids" in input) return input.ids;
  if ("text" in input) return promptIds(tokenizer, architecture.kind, input.text);
  return tokenizer.encode(chatText(input.chat, tokenizer), { addSpecialTokens: architecture.kind === "encoder-decoder" });
}

/** The conversation as the text that the model goes on from. */
export function chatText(chat: ChatPrompt, tokenizer: Tokenizer): string {
  const { tools, templateVariables, opensTurn, continuesLast, call } = chat;
  if (tokenizer.chatTemplates.size === 0) {
    throw new RequestProblem({
      status: 400,
      message: "This model has no chat template, so it cannot chat. Send its prompt as plain text to /v1/completions.",
      param: "model",
      code: "no_chat_template",
    });
  }
  const known = toolList(tools, "tools");
  const template = templateFor(tokenizer, known);
  const messages = asTemplatesReadThem(chat.messages, template);
  const options = { tools: known, templateVariables, addGenerationPrompt: opensTurn && !continuesLast };
  const text = renderChat(tokenizer, messages, options);
  if (continuesLast) return openEnded(text, messages.at(-1));
  return call ? `${text}${openingOf(template)}` : text;
}

/** The text up to the end of the last message's content, so that the answer goes on from there. */
function openEnded(text: string, last: ChatMessage | undefined): string {
  const content = typeof last?.content === "string" ? last.content.trimEnd() : "";
  const at = content === "" ? -1 : text.lastIndexOf(content);
  if (at < 0) throw badField("continue_final_message", "The last message has no text to go on from.");
  return text.slice(0, at + content.length);
}

function openingOf(template: string): string {
  const style = toolStyleOf(template);
  if (style === undefined) throw badField("tools", "The model's chat template has no form for calls of tools.");
  return callOpening(style);
}

/** How a template writes calls; undefined where it knows none. */
export function toolStyleOf(template: string): ToolStyle | undefined {
  if (template.includes("[TOOL_CALLS]")) return "mistral";
  if (template.includes("<tool_call>")) return "hermes";
  return /python_tag|"parameters":|'parameters'|tool_call/.test(template) ? "llama3" : undefined;
}

/** Messages in the words that chat templates were written for. */
function asTemplatesReadThem(messages: readonly ChatMessage[], template: string): ChatMessage[] {
  const read: ChatMessage[] = [];
  for (const [i, message] of messages.entries()) {
    const where = `messages.${i}`;
    const content = plainText(message.content, where);
    const role = message.role === "developer" && !template.includes("developer") ? "system" : message.role;
    const calls = message.tool_calls === undefined ? undefined : toolCalls(message.tool_calls, where);
    const { tool_calls: _, ...rest } = message;
    const next: ChatMessage = { ...rest, role, content, ...(calls && { tool_calls: calls }) };
    const before = read.at(-1);
    const joins = role === "system" && before?.role === "system"; // templates take one system message
    if (joins) read[read.length - 1] = { ...before, content: `${before.content}\n\n${content}` };
    else read.push(next);
  }
  return read;
}

/** Text of a message whose content may come in parts. */
function plainText(content: ChatMessage["content"], where: string): string {
  if (typeof content === "string") return content;
  if (content === undefined || content === null) return "";
  const texts = content.map((part, i) => {
    const text = isObject(part) ? (part.text ?? part.refusal) : undefined;
    if (typeof text === "string") return text;
    throw badField(`${where}.content.${i}`, "This model reads text alone.", "unsupported_value");
  });
  return texts.join("");
}
