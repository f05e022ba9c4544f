/** @file What of a conversation a chat template has no use for, so that nothing vanishes without a word. */

import { type ChatContext, type ChatMessage, REASONING_KEYS, renderChat, templateFor } from "./chat.ts";
import { mentions } from "./template/template.ts";
import type { Tokenizer } from "./tokenizer.ts";

type Templates = Pick<Tokenizer, "chatTemplates" | "specialTokens">;
interface Conversation extends ChatContext {
  readonly messages: readonly ChatMessage[];
}

/** Names of what the template does not read: fields of messages, tools, documents, variables. */
export function unreadNames(tokenizer: Templates, { messages, tools, documents, templateVariables = {} }: Conversation): string[] {
  const source = templateFor(tokenizer, tools);
  const reasons = REASONING_KEYS.some((key) => mentions(source, key));
  const isRead = (name: string) => mentions(source, name) || (reasons && REASONING_KEYS.some((key) => key === name));
  const fields = messages.flatMap((message) => Object.keys(message)).filter((name) => !WRITTEN.has(name));
  const around = [...(tools ? ["tools"] : []), ...(documents ? ["documents"] : []), ...Object.keys(templateVariables)];
  return [...new Set([...fields, ...around])].filter((name) => !isRead(name));
}

// Every template reads the first two; a turn whose calls are not written is refused.
const WRITTEN: ReadonlySet<string> = new Set(["role", "content", "tool_calls"]);

const PROBE = "skein-probe";

/** Roles of messages that the template leaves out of `prompt`, which it wrote for `messages`. */
export function unwrittenRoles(tokenizer: Templates, { messages, ...context }: Conversation, prompt: string): string[] {
  const missing = messages.flatMap(({ role, content }, i) => {
    if (role === "assistant" || typeof content !== "string" || content.trim() === "" || prompt.includes(content.trim())) return [];
    // It may be written in other words, as JSON say: then another content shows.
    const probed = messages.map((message, at) => (at === i ? { ...message, content: PROBE } : message));
    return renderChat(tokenizer, probed, { ...context, addGenerationPrompt: true }).includes(PROBE) ? [] : [role];
  });
  return [...new Set(missing)];
}
