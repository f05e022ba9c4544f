/** @file BIG-Bench Hard (Suzgun et al. 2022): files `{ "canary", "examples": [{ "input", "target" }] }`, or the same rows in other files.
 *
 *  Choices are the options in the input ("(A)" for "(A) text", "text" for "- text"), or the fixed answers of a few tasks.
 *  Tasks without choices are generated and compared by exact match. */

import { basename } from "node:path";
import { z } from "zod";
import { DataError } from "../../base/errors.ts";
import { parseRow, type Row } from "../../data/row.ts";
import { parseJson, readRows, readUtf8 } from "../../data/rows.ts";
import { taskOf } from "./jsonl.ts";
import { type Example, labelsFromText, type Task } from "./task.ts";

/** Answers of the tasks without options in the input. */
const FIXED_CHOICES: Readonly<Record<string, readonly string[]>> = {
  boolean_expressions: ["True", "False"],
  sports_understanding: ["yes", "no"],
  web_of_lies: ["Yes", "No"],
};

const fileSchema = z.object({ canary: z.string().optional(), examples: z.array(z.record(z.string(), z.unknown())) });
const rowSchema = z.object({ input: z.string(), target: z.string() });

export interface BbhOptions {
  /** Follows each input (default "\nAnswer:", the PHATGOOSE authors' prompt). */
  readonly suffix?: string;
  /** The answers to choose from, instead of those in the input. */
  readonly choices?: readonly string[];
}

/** The task of one BIG-Bench Hard file. */
export async function readBbhTask(path: string, options: BbhOptions = {}): Promise<Task> {
  const name = basename(path).replace(/\.(json|jsonl|parquet)(\.gz)?$/, "");
  const choices = options.choices ?? FIXED_CHOICES[name];
  return taskOf(name, bbhExamples(await readBbhRows(path), { ...options, ...(choices && { choices }) }));
}

/** Rows of the original JSON, or of any other data file. */
export async function readBbhRows(path: string): Promise<Row[]> {
  if (!/\.json(\.gz)?$/.test(path)) return readRows(path);
  const text = await readUtf8(path);
  if (!/^\s*\{\s*"(canary|examples)"/.test(text)) return readRows(path);
  const file = fileSchema.safeParse(parseJson(text, path));
  if (!file.success || file.data.examples.length === 0) {
    const fix = "Take the file from the BIG-Bench-Hard repository's bbh folder.";
    throw new DataError({ code: "task-bad-file", what: 'Expected {"examples": [{"input", "target"}, ...]}, not empty.', where: path, fix });
  }
  return file.data.examples.map((value, i) => ({ value, where: `${path}, example ${i + 1}` }));
}

/** Examples from rows `{ input, target }`. Where any row lists no choices, no example has choices. */
export function bbhExamples(rows: readonly Row[], { suffix = "\nAnswer:", choices }: BbhOptions = {}): Example[] {
  const parsed = rows.map((row) => parseRow(rowSchema, row, 'Each example is {"input": text, "target": text}.'));
  const lists = parsed.map(({ input }) => choices ?? listedChoices(input));
  const isChoice = lists.every((list) => list.length > 0);
  return parsed.map(({ input, target }, i) => ({
    input: input + suffix,
    target,
    ...(isChoice && answers(target, lists[i]!)),
  }));
}

/** Three published targets are not among their options (a title with a comma, split in two). They have no right choice. */
function answers(target: string, choices: readonly string[]): Pick<Example, "choices" | "label" | "labels"> {
  return { choices, label: -1, ...labelsFromText([target], choices) };
}

function listedChoices(input: string): string[] {
  const [, options] = /\nOptions:[ \t]*\n([\s\S]*)$/.exec(input) ?? [];
  const lines = (options ?? "").split("\n").map((line) => line.trim());
  return lines.flatMap((line) => /^(\([A-Z]\))/.exec(line)?.[1] ?? /^- (.+)$/.exec(line)?.[1] ?? []);
}
