/** @file Training data in the usual formats; each row becomes one example.
 *
 *    { input, target, ... }        Skein's own; other fields are for evaluation and are ignored here
 *    { prompt, completion }        TRL's, as texts or as messages; a final "<|endoftext|>" (T0's data has it) is removed
 *    { messages } { conversations } { instruction, output }     chats (chat-data.ts)
 *    { text }                      plain text, learned whole; used only if the row has no other format, since Alpaca's rows have a `text` too
 *
 *  A row without an answer is refused, like a row that cannot be read: it would teach the model to answer nothing. */

import { z } from "zod";
import { DataError } from "../base/errors.ts";
import type { ChatMessage } from "../text/chat.ts";
import { type Chat, conversationOf, isConversation } from "./chat-data.ts";
import { parseRow, type Row } from "./row.ts";
import { type RowNotes, rowNotes } from "./row-notes.ts";
import { readRows } from "./rows.ts";

/** A training example. The loss covers the target, the assistant's turns, or the whole text. */
export type TrainingExample =
  | {
      readonly kind: "pair";
      readonly input: string;
      readonly target: string;
      /** Whether the target follows the input directly, with nothing between them. */
      readonly joined?: boolean;
    }
  | Chat
  | { readonly kind: "text"; readonly text: string };

const pairSchema = z.object({ input: z.string(), target: z.string() });
const textSchema = z.object({ text: z.string() });

/** The options of `readTrainingExamples`. */
export interface ReadOptions {
  /** Called with notes about skipped parts of the file. */
  readonly onWarning?: (message: string) => void;
}

/** The examples of a .jsonl, .json, .csv, .tsv or .parquet file. Each row may have its own format.
 *  @throws DataError for a file that is missing, a row that cannot be read, and rows without an answer, with their lines. */
export async function readTrainingExamples(path: string, options: ReadOptions = {}): Promise<TrainingExample[]> {
  return examplesOfRows(await readRows(path), path, options);
}

/** The examples of rows that were read already; `name` says where from, for warnings. */
export function examplesOfRows(rows: readonly Row[], name: string, { onWarning }: ReadOptions = {}): TrainingExample[] {
  const notes = rowNotes();
  const examples = rows.map((row) => trainingExample(row, notes));
  for (const sentence of notes.sentences()) onWarning?.(`${name}: ${sentence}`);
  const empty = rows.filter((_, i) => lacksAnswer(examples[i]!));
  if (empty.length > 0) throw withoutAnswer(empty);
  return examples;
}

/** Fields for evaluation. */
const FOR_EVALUATION = ["targets", "choices", "label", "id"];

/** The example in one row; skipped fields are noted.
 *  @throws DataError for a row that cannot be read. */
export function trainingExample(row: Row, notes: RowNotes): TrainingExample {
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

/** Whether the part to learn is blank: the whole text, the target, or a turn of the assistant without a tool call. */
export function lacksAnswer(example: TrainingExample): boolean {
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

/** One error for all such rows of a file, since published files have a few among thousands. `rows` are the first of `count`. */
export function withoutAnswer(rows: readonly Row[], count = rows.length): DataError {
  const [{ value, where }, ...others] = rows as [Row, ...Row[]];
  const also = others.length > 0 ? ` The same is true of ${placesOf(others, count - 1)}.` : "";
  return new DataError({
    code: "data-empty-answer",
    what: `The ${ANSWER_FIELDS.find((field) => field in value) ?? "assistant's answer"} is empty: there is nothing to learn from.${also}`,
    where,
    fix: others.length > 0 ? `Fill them in, or leave these ${count} rows out.` : "Fill it in, or leave the row out.",
  });
}

/** "line 3, line 8 and 4 more", of rows that are the first of `count`. */
export function placesOf(rows: readonly Pick<Row, "where">[], count: number): string {
  const places = rows.slice(0, MOST_PLACES).map(({ where }) => where.slice(where.lastIndexOf(", ") + 2));
  return [...places, ...(count > places.length ? [`${count - places.length} more`] : [])].join(", ");
}
/** The number of rows that one error names. */
export const MOST_PLACES = 30;

/** A completion without the final mark that some files have; encoding adds the model's own. */
export function withoutEndOfText(completion: string): string {
  return completion.replace(/<\|endoftext\|>\s*$/, "");
}
