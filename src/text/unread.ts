/** @file Finds the parts of a conversation that a chat template does not use, so that they can be reported. */

import { type ChatContext, type ChatMessage, REASONING_KEYS, renderChat, templateFor } from "./chat.ts";
import { mentions } from "./template/template.ts";
import type { Tokenizer } from "./tokenizer.ts";

type Templates = Pick<Tokenizer, "chatTemplates" | "specialTokens">;
interface Conversation extends ChatContext {
  readonly messages: readonly ChatMessage[];
}

/** Names that the template does not read: fields of messages, tools, documents, variables. */
export function unreadNames(tokenizer: Templates, { messages, tools, documents, templateVariables = {} }: Conversation): string[] {
  const source = templateFor(tokenizer, tools);
  const reasons = REASONING_KEYS.some((key) => mentions(source, key));
  const isRead = (name: string) => mentions(source, name) || (reasons && REASONING_KEYS.some((key) => key === name));
  const fields = messages.flatMap((message) => Object.keys(message)).filter((name) => !WRITTEN.has(name));
  const around = [...(tools ? ["tools"] : []), ...(documents ? ["documents"] : []), ...Object.keys(templateVariables)];
  return [...new Set([...fields, ...around])].filter((name) => !isRead(name));
}

// Every template reads role and content; a turn whose tool calls are not written is refused elsewhere.
const WRITTEN: ReadonlySet<string> = new Set(["role", "content", "tool_calls"]);

const PROBE = "skein-probe";

/** Roles of those `messages` that the template leaves out of `prompt`. */
export function unwrittenRoles(tokenizer: Templates, { messages, ...context }: Conversation, prompt: string): string[] {
  const missing = messages.flatMap(({ role, content }, i) => {
    if (role === "assistant" || typeof content !== "string" || content.trim() === "" || prompt.includes(content.trim())) return [];
    // The template may write the content in another form, such as JSON. Then a changed content changes the text.
    const probed = messages.map((message, at) => (at === i ? { ...message, content: PROBE } : message));
    return renderChat(tokenizer, probed, { ...context, addGenerationPrompt: true }).includes(PROBE) ? [] : [role];
  });
  return [...new Set(missing)];
}
