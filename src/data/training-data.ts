/** @file Data to learn from, in the spellings people keep it in; each row becomes one example.
 *
 *    { input, target, ... }        our own; other fields are for evaluation and are passed over here
 *    { prompt, completion }        TRL's, as texts or as messages; "<|endoftext|>" at the end is taken off, as T0's lines have it
 *    { messages } { conversations } { instruction, output }     chats (chat-data.ts)
 *    { text }                      plain text, learned whole, where the row says nothing better: Alpaca's rows hold their own rendering too
 *
 *  A row without an answer is refused, as a row that cannot be read is: learned, it would teach to answer nothing. */

import { z } from "zod";
import { DataError } from "../base/errors.ts";
import type { ChatMessage } from "../text/chat.ts";
import { type Chat, conversationOf, isConversation } from "./chat-data.ts";
import { parseRow, type Row } from "./row.ts";
import { type RowNotes, rowNotes } from "./row-notes.ts";
import { readRows } from "./rows.ts";

/** What a model learns from: loss falls on the target, on the assistant's turns, or on the whole text. */
export type TrainingExample =
  | {
      readonly kind: "pair";
      readonly input: string;
      readonly target: string;
      /** Whether the target is the input's next characters, nothing between them. */
      readonly joined?: boolean;
    }
  | Chat
  | { readonly kind: "text"; readonly text: string };

const pairSchema = z.object({ input: z.string(), target: z.string() });
const textSchema = z.object({ text: z.string() });

export interface ReadOptions {
  /** Told what of the file is passed over. */
  readonly onWarning?: (message: string) => void;
}

/** The examples of a .jsonl, .json, .csv, .tsv or .parquet file. Each row may have its own spelling. */
export async function readTrainingExamples(path: string, { onWarning }: ReadOptions = {}): Promise<TrainingExample[]> {
  const rows = await readRows(path);
  const notes = rowNotes();
  const examples = rows.map((row) => trainingExample(row, notes));
  for (const sentence of notes.sentences()) onWarning?.(`${path}: ${sentence}`);
  const empty = rows.filter((_, i) => lacksAnswer(examples[i]!));
  if (empty.length > 0) throw withoutAnswer(empty);
  return examples;
}

/** Fields that evaluation reads. */
const FOR_EVALUATION = ["targets", "choices", "label", "id"];

function trainingExample(row: Row, notes: RowNotes): TrainingExample {
  const { value } = row;
  const note = (...known: readonly string[]) => {
    for (const name of Object.keys(value)) if (!known.includes(name)) notes.passedOver(name, "row");
  };
  if ("input" in value && "target" in value) {
    note("input", "target", ...FOR_EVALUATION);
    return { kind: "pair", ...parseRow(pairSchema, row, 'Write {"input": text, "target": text}.') };
  }
  if ("text" in value && !isConversation(row)) {
    note("text");
    return { kind: "text", ...parseRow(textSchema, row, 'Write {"text": text}.') };
  }
  const conversation = conversationOf(row, notes);
  if (conversation.kind === "messages") return conversation;
  const { prompt } = conversation;
  return { kind: "pair", input: prompt, target: withoutEndOfText(conversation.completion), joined: true };
}

/** Whether something to be learned is blank: what is learned whole, a target, or a turn of the assistant that calls no tool either. */
function lacksAnswer(example: TrainingExample): boolean {
  switch (example.kind) {
    case "pair":
      return isBlank(example.target);
    case "text":
      return isBlank(example.text);
    case "messages":
      return example.messages.some(
        ({ role, content, tool_calls }, i) => role === "assistant" && isBlank(content) && !tool_calls && !example.unlearned?.includes(i),
      );
  }
}

const isBlank = (content: ChatMessage["content"]) => typeof content === "string" && content.trim() === "";
const ANSWER_FIELDS = ["target", "completion", "output", "text"];

/** All such rows of a file in one message: published files have a few among thousands. */
function withoutAnswer(rows: readonly Row[]): DataError {
  const [{ value, where }, ...others] = rows as [Row, ...Row[]];
  const places = others.slice(0, MOST_PLACES).map((row) => row.where.slice(row.where.lastIndexOf(", ") + 2));
  const more = others.length > MOST_PLACES ? [`${others.length - MOST_PLACES} more`] : [];
  const also = others.length > 0 ? ` The same is true of ${[...places, ...more].join(", ")}.` : "";
  return new DataError({
    code: "data-empty-answer",
    what: `The ${ANSWER_FIELDS.find((field) => field in value) ?? "assistant's answer"} is empty: there is nothing to learn from.${also}`,
    where,
    fix: others.length > 0 ? `Fill them in, or leave these ${rows.length} rows out.` : "Fill it in, or leave the row out.",
  });
}
const MOST_PLACES = 30;

/** A completion without the mark that some files write at its end; who encodes it adds the model's own. */
export function withoutEndOfText(completion: string): string {
  return completion.replace(/<\|endoftext\|>\s*$/, "");
}
