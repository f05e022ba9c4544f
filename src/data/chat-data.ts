/** @file Chat and instruction data in its four common spellings, read as conversations:
 *
 *    Alpaca   { instruction, input?, output, history? }
 *    ShareGPT { conversations: [{ from: human | gpt | system | function_call | observation, value }] }
 *    OpenAI   { messages: [{ role, content }] }
 *    TRL      { prompt, completion }, each a text or a list of messages
 *
 *  each with system?, tools?, functions?, documents? and chat_template_kwargs?, and lists as JSON text too. Messages: chat-messages.ts.
 *
 *  A plain TRL pair stays text; everything else becomes messages, to be rendered by the model's chat template. A model without turns
 *  (T5) gets the texts unchanged, and for an Alpaca row Alpaca's own prompt. */

import { z } from "zod";
import { DataError } from "../base/errors.ts";
import type { ChatMessage } from "../text/chat.ts";
import { decoded, functionTool, isObject, toolList } from "../text/tool-calls.ts";
import { type ReadMessage, readMessage, withoutNulls } from "./chat-messages.ts";
import { type DataRecord, exactRow, parseRow, type Row } from "./row.ts";
import { noNotes, type RowNotes } from "./row-notes.ts";
import { fieldNames, readRows } from "./rows.ts";

/** A conversation to learn from: loss falls on the assistant's turns. */
export interface Chat {
  readonly kind: "messages";
  readonly messages: readonly ChatMessage[];
  readonly tools?: readonly DataRecord[];
  readonly documents?: readonly unknown[];
  /** Variables of the chat template (chat_template_kwargs). */
  readonly templateVariables?: DataRecord;
  /** Indices of turns of the assistant that are read but not learned. */
  readonly unlearned?: readonly number[];
  /** The row's file and line. */
  readonly where?: string;
  /** The prompt for a model without a chat template, if the row's format defines one: Alpaca's prompt, for a row without history. */
  readonly prompt?: string;
}
export type Conversation = Chat | { readonly kind: "text"; readonly prompt: string; readonly completion: string };

export type ChatFormat = "alpaca" | "sharegpt" | "openai" | "trl";

/** The conversations of a .json, .jsonl or .parquet file. By default the first row determines the format. */
export async function readConversations(path: string, format?: ChatFormat): Promise<Conversation[]> {
  const rows = await readRows(path);
  const chosen = format ?? detectChatFormat(rows[0]!);
  return rows.map((row) => CONVERSIONS[chosen](exactRow(row), noNotes));
}

/** The conversation in one row of any of the formats. Skipped fields are noted. */
export function conversationOf(row: Row, notes: RowNotes = noNotes): Conversation {
  return CONVERSIONS[detectChatFormat(row)](exactRow(row), notes);
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

/** A chat as one question and its answer, for models without turns; undefined if it is more than that. */
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

const CONVERSIONS: Readonly<Record<ChatFormat, (row: Row, notes: RowNotes) => Conversation>> = {
  alpaca: fromAlpaca,
  sharegpt: fromShareGpt,
  openai: fromOpenAi,
  trl: fromTrl,
};

const alpacaSchema = z.object({
  instruction: z.string(),
  input: z.string().nullish(),
  output: z.string(),
  history: z.array(z.tuple([z.string(), z.string()])).nullish(),
});

function fromAlpaca(row: Row, notes: RowNotes): Conversation {
  const { instruction, input, output, history } = parseRow(alpacaSchema, row, 'Write {"instruction", "input", "output"}.');
  const earlier = (history ?? []).flatMap(([question, answer]): ChatMessage[] => [
    { role: "user", content: question },
    { role: "assistant", content: answer },
  ]);
  const question = input ? `${instruction}\n${input}` : instruction;
  const last: ChatMessage[] = [
    { role: "user", content: question },
    { role: "assistant", content: output },
  ];
  const messages = [...earlier, ...last].map((message) => ({ message, isLearned: true }));
  // Alpaca's rows contain their own rendering as text.
  const chat = conversation(messages, { row, notes, own: ["instruction", "input", "output", "history", "text"] });
  if (earlier.length > 0) return chat;
  const { system } = row.value;
  return { ...chat, prompt: `${system ? `${String(system)}\n\n` : ""}${alpacaPrompt(instruction, input ?? "")}` };
}

function fromShareGpt(row: Row, notes: RowNotes): Conversation {
  const fix = 'Write {"conversations": [{"from": "human", "value": text}, {"from": "gpt", "value": text}, ...]}.';
  return conversation(messagesIn("conversations", row, { notes, fix }), { row, notes, own: ["conversations"] });
}

function fromOpenAi(row: Row, notes: RowNotes): Conversation {
  const fix = 'Write {"messages": [{"role": "user", "content": text}, ...]}.';
  return conversation(messagesIn("messages", row, { notes, fix }), { row, notes, own: ["messages"] });
}

/** The messages in a field: a list, or its JSON text. */
function messagesIn(name: string, { value, where }: Row, { notes, fix }: { notes: RowNotes; fix: string }): ReadMessage[] {
  const list = decoded(value[name], { where, name });
  if (!Array.isArray(list)) throw new DataError({ code: "data-bad-row", what: `${name} is not a list of messages.`, where, fix });
  return list.map((message: unknown, i) => readMessage(message, i, { where, notes }));
}

const side = z.union([z.string(), z.array(z.unknown())]);
const trlSchema = z.object({ prompt: side, completion: side });

function fromTrl(row: Row, notes: RowNotes): Conversation {
  const { prompt, completion } = parseRow(trlSchema, row, 'Write {"prompt": text, "completion": text}.');
  const own = ["prompt", "completion"];
  if (typeof prompt === "string" && typeof completion === "string") {
    notePassedOver(row, own, notes);
    return { kind: "text", prompt, completion };
  }
  const messages = (part: typeof prompt, role: "user" | "assistant", first: number): ReadMessage[] =>
    typeof part === "string"
      ? [{ message: { role, content: part }, isLearned: true }]
      : part.map((message, i) => readMessage(message, first + i, { where: row.where, notes }));
  const asked = messages(prompt, "user", 0).map(({ message }) => ({ message, isLearned: false }));
  return conversation([...asked, ...messages(completion, "assistant", asked.length)], { row, notes, own });
}

/** The other fields of a row, besides its messages. */
const AROUND = ["system", "tools", "functions", "documents", "chat_template_kwargs"];

function notePassedOver({ value }: Row, known: readonly string[], notes: RowNotes): void {
  for (const [name, item] of Object.entries(value)) if (!known.includes(name) && item !== null) notes.passedOver(name, "row");
}

interface ChatSource {
  readonly row: Row;
  readonly notes: RowNotes;
  /** Fields that the format itself reads. */
  readonly own: readonly string[];
}

function conversation(given: readonly ReadMessage[], { row, notes, own }: ChatSource): Chat {
  const { value, where } = row;
  notePassedOver(row, [...own, ...AROUND], notes);
  const read = [...systemMessage(given, row, notes), ...given];
  if (!read.some(({ message }) => message.role === "assistant")) {
    throw new DataError({
      code: "data-bad-row",
      what: "The conversation has no answer of the assistant.",
      where,
      fix: "Add one, or remove the row.",
    });
  }
  const unlearned = read.flatMap(({ message, isLearned }, i) => (message.role === "assistant" && !isLearned ? [i] : []));
  const functions = toolList(withoutNulls(value.functions, notes), where)?.map(functionTool) ?? [];
  const tools = [...(toolList(withoutNulls(value.tools, notes), where) ?? []), ...functions];
  const documents = decoded(value.documents, { where, name: "documents" });
  const variables = decoded(value.chat_template_kwargs, { where, name: "chat_template_kwargs" });
  return {
    kind: "messages",
    messages: read.map(({ message }) => message),
    ...(tools.length > 0 && { tools }),
    ...(Array.isArray(documents) && documents.length > 0 && { documents }),
    ...(isObject(variables) && { templateVariables: variables }),
    ...(unlearned.length > 0 && { unlearned }),
    where,
  };
}

/** The row's own system text, if the messages do not begin with one. */
function systemMessage(given: readonly ReadMessage[], { value: { system } }: Row, notes: RowNotes): ReadMessage[] {
  if (typeof system !== "string" || system === "") return [];
  if (given[0]?.message.role !== "system") return [{ message: { role: "system", content: system }, isLearned: false }];
  notes.passedOver("system beside a system message", "row");
  return [];
}
