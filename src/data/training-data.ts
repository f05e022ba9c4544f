/** @file Data to learn from, in the spellings people keep it in; each row becomes one example.
 *
 *    { input, target, ... }        our own; other fields are for evaluation and are passed over here
 *    { prompt, completion }        TRL's, as texts or as messages; "<|endoftext|>" at the end is taken off, as T0's lines have it
 *    { messages } { conversations } { instruction, output }     chats (chat-data.ts)
 *    { text }                      plain text, learned whole */

import { z } from "zod";
import { DataError } from "../base/errors.ts";
import type { ChatMessage } from "../text/chat.ts";
import { conversationOf } from "./chat-data.ts";
import { parseRow, type Row, readRows } from "./rows.ts";

/** What a model learns from: loss falls on the target, on the assistant's turns, or on the whole text. */
export type TrainingExample =
  | {
      readonly kind: "pair";
      readonly input: string;
      readonly target: string;
      /** Whether the target is the input's next characters, nothing between them. */
      readonly joined?: boolean;
    }
  | { readonly kind: "messages"; readonly messages: readonly ChatMessage[]; readonly tools?: unknown }
  | { readonly kind: "text"; readonly text: string };

const pairSchema = z.object({ input: z.string(), target: z.string().min(1) });
const textSchema = z.object({ text: z.string().min(1) });

/** The examples of a .jsonl, .json, .csv, .tsv or .parquet file. Each row may have its own spelling. */
export async function readTrainingExamples(path: string): Promise<TrainingExample[]> {
  return (await readRows(path)).map(trainingExample);
}

/** The example in one row. */
export function trainingExample(row: Row): TrainingExample {
  const { value, where } = row;
  if ("input" in value && "target" in value) {
    return { kind: "pair", ...parseRow(pairSchema, row, 'Write {"input": text, "target": text that is not empty}.') };
  }
  if ("text" in value) return { kind: "text", ...parseRow(textSchema, row, 'Write {"text": text that is not empty}.') };
  const conversation = conversationOf(row);
  if (conversation.kind === "messages") return conversation;
  const { prompt } = conversation;
  const completion = withoutEndOfText(conversation.completion);
  if (completion !== "") return { kind: "pair", input: prompt, target: completion, joined: true };
  throw new DataError({
    what: "The completion is empty: there is nothing to learn from.",
    where,
    fix: "Fill it in, or leave the row out.",
  });
}

/** A completion without the mark that some files write at its end; who encodes it adds the model's own. */
export function withoutEndOfText(completion: string): string {
  return completion.replace(/<\|endoftext\|>\s*$/, "");
}
