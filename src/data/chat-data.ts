/** @file Chat and instruction data in its four common spellings, read as conversations:
 *
 *    Alpaca   { instruction, input?, output, system?, history? }
 *    ShareGPT { conversations: [{ from: human | gpt | system | function_call | observation, value }], system?, tools? }
 *    OpenAI   { messages: [{ role, content }], tools? }
 *    TRL      { prompt, completion }, each a text or a list of messages
 *
 *  A plain TRL pair stays text; everything else becomes messages, to be rendered by the model's chat template. A model without turns
 *  (T5) is asked with the texts themselves, and for an Alpaca row with Alpaca's own prompt. */

import { z } from "zod";
import { DataError } from "../base/errors.ts";
import type { ChatMessage } from "../text/chat.ts";
import { type DataRecord, parseRow, type Row } from "./row.ts";
import { fieldNames, readRows } from "./rows.ts";

export interface Chat {
  readonly kind: "messages";
  readonly messages: readonly ChatMessage[];
  readonly tools?: unknown;
  /** What a model without a chat template is asked by, where the row's format says it: Alpaca's prompt, of a row without history. */
  readonly prompt?: string;
}
export type Conversation = Chat | { readonly kind: "text"; readonly prompt: string; readonly completion: string };

export type ChatFormat = "alpaca" | "sharegpt" | "openai" | "trl";

/** The conversations of a .json, .jsonl or .parquet file. The format is told from the first row unless given. */
export async function readConversations(path: string, format?: ChatFormat): Promise<Conversation[]> {
  const rows = await readRows(path);
  const chosen = format ?? detectChatFormat(rows[0]!);
  return rows.map((row) => CONVERSIONS[chosen](row));
}

/** The conversation in one row, in whatever spelling. */
export function conversationOf(row: Row): Conversation {
  return CONVERSIONS[detectChatFormat(row)](row);
}

/** Whether the row has the fields of one of the spellings. */
export function isConversation(row: Row): boolean {
  return spelling(row) !== undefined;
}

/** The spelling of a row. */
export function detectChatFormat(row: Row): ChatFormat {
  const format = spelling(row);
  if (format) return format;
  throw new DataError({
    code: "data-unknown-format",
    what: `The format of this row is not known; its fields are ${fieldNames(row.value)}.`,
    where: row.where,
    fix: "Use {instruction, input, output}, {conversations}, {messages} or {prompt, completion}; to learn from, also {input, target} or {text}.",
  });
}

function spelling({ value }: Row): ChatFormat | undefined {
  if ("messages" in value) return "openai";
  if ("conversations" in value) return "sharegpt";
  if ("prompt" in value && "completion" in value) return "trl";
  return "instruction" in value && "output" in value ? "alpaca" : undefined;
}

/** A chat as one question and its answer, for models that know no turns; undefined where it is more than that. */
export function asPair({ messages, tools, prompt }: Chat): { input: string; target: string } | undefined {
  const roles = messages.map(({ role }) => role).join();
  const texts = messages.map(({ content, tool_calls }) => (tool_calls === undefined && typeof content === "string" ? content : undefined));
  const target = texts.at(-1);
  if (tools !== undefined || target === undefined || !/^(?:system,)?user,assistant$/.test(roles)) return undefined;
  return { input: prompt ?? texts.slice(0, -1).join("\n\n"), target };
}

/** Alpaca's own prompt (Taori et al. 2023), for base models without a chat template. */
export function alpacaPrompt(instruction: string, input = ""): string {
  const opening = "Below is an instruction that describes a task";
  return input === ""
    ? `${opening}. Write a response that appropriately completes the request.\n\n### Instruction:\n${instruction}\n\n### Response:\n`
    : `${opening}, paired with an input that provides further context. Write a response that appropriately completes the request.\n\n### Instruction:\n${instruction}\n\n### Input:\n${input}\n\n### Response:\n`;
}

const CONVERSIONS: Readonly<Record<ChatFormat, (row: Row) => Conversation>> = {
  alpaca: fromAlpaca,
  sharegpt: fromShareGpt,
  openai: fromOpenAi,
  trl: fromTrl,
};

const alpacaSchema = z.object({
  instruction: z.string(),
  input: z.string().nullish(),
  output: z.string(),
  system: z.string().nullish(),
  history: z.array(z.tuple([z.string(), z.string()])).nullish(),
});

function fromAlpaca(row: Row): Conversation {
  const { instruction, input, output, system, history } = parseRow(alpacaSchema, row, 'Write {"instruction", "input", "output"}.');
  const earlier = (history ?? []).flatMap(([question, answer]): ChatMessage[] => [
    { role: "user", content: question },
    { role: "assistant", content: answer },
  ]);
  const question = input ? `${instruction}\n${input}` : instruction;
  const last: ChatMessage[] = [
    { role: "user", content: question },
    { role: "assistant", content: output },
  ];
  const chat = conversation([...systemMessage(system), ...earlier, ...last], row);
  if (earlier.length > 0) return chat;
  return { ...chat, prompt: `${system ? `${system}\n\n` : ""}${alpacaPrompt(instruction, input ?? "")}` };
}

const turns = { human: "user", user: "user", gpt: "assistant", assistant: "assistant", system: "system", observation: "tool" } as const;
const shareGptSchema = z.object({
  conversations: z.array(
    z.object({ from: z.enum(["human", "user", "gpt", "assistant", "system", "observation", "function_call"]), value: z.string() }),
  ),
  system: z.string().nullish(),
  tools: z.unknown().optional(),
});

function fromShareGpt(row: Row): Conversation {
  const fix = 'Write {"conversations": [{"from": "human", "value": text}, {"from": "gpt", "value": text}, ...]}.';
  const { conversations, system, tools } = parseRow(shareGptSchema, row, fix);
  const messages = conversations.map(({ from, value }): ChatMessage => {
    if (from !== "function_call") return { role: turns[from], content: value };
    return { role: "assistant", content: "", tool_calls: [{ type: "function", function: functionCall(value, row.where) }] };
  });
  return conversation([...systemMessage(system), ...messages], row, tools);
}

function functionCall(text: string, where: string): unknown {
  try {
    const call: unknown = JSON.parse(text);
    return z.object({ name: z.string(), arguments: z.unknown() }).parse(call);
  } catch (cause) {
    const fix = 'A function_call is the JSON text {"name": ..., "arguments": {...}}.';
    throw new DataError({ code: "data-bad-row", what: `This function_call cannot be read: ${text.slice(0, 80)}`, where, fix, cause });
  }
}

// Content in parts (OpenAI) is joined; parts other than text have no meaning for a language model of text.
const content = z.union([
  z.string(),
  z.null().transform(() => ""),
  z.array(z.object({ type: z.literal("text"), text: z.string() })).transform((parts) => parts.map((part) => part.text).join("")),
]);
const messageSchema = z.object({
  role: z.enum(["system", "developer", "user", "assistant", "tool"]).transform((role) => (role === "developer" ? "system" : role)),
  content: content.optional().transform((text) => text ?? ""),
  tool_calls: z.array(z.unknown()).nullish(),
});
const openAiSchema = z.object({ messages: z.array(messageSchema), tools: z.unknown().optional() });

function fromOpenAi(row: Row): Conversation {
  const { messages, tools } = parseRow(openAiSchema, row, 'Write {"messages": [{"role": "user", "content": text}, ...]}.');
  return conversation(messages.map(toMessage), row, tools);
}

function toMessage({ role, content, tool_calls }: z.infer<typeof messageSchema>): ChatMessage {
  return { role, content, ...(tool_calls?.length ? { tool_calls } : {}) };
}

const side = z.union([z.string(), z.array(messageSchema)]);
const trlSchema = z.object({ prompt: side, completion: side });

function fromTrl(row: Row): Conversation {
  const { prompt, completion } = parseRow(trlSchema, row, 'Write {"prompt": text, "completion": text}.');
  if (typeof prompt === "string" && typeof completion === "string") return { kind: "text", prompt, completion };
  const messages = (part: typeof prompt, role: "user" | "assistant"): ChatMessage[] =>
    typeof part === "string" ? [{ role, content: part }] : part.map(toMessage);
  return conversation([...messages(prompt, "user"), ...messages(completion, "assistant")], row);
}

function systemMessage(text: string | null | undefined): ChatMessage[] {
  return text ? [{ role: "system", content: text }] : [];
}

function conversation(messages: readonly ChatMessage[], { where }: Row, tools?: unknown): Chat {
  if (!messages.some((message) => message.role === "assistant")) {
    throw new DataError({
      code: "data-bad-row",
      what: "The conversation has no answer of the assistant.",
      where,
      fix: "Add one, or leave the row out.",
    });
  }
  const given: DataRecord = tools === undefined || tools === null || tools === "" ? {} : { tools };
  return { kind: "messages", messages, ...given };
}
