/** @file Reads the tasks of a file or folder. The content determines the format:
 *
 *    a folder                                   every data file and YAML in it, by name
 *    .yaml with name and tasks                  a benchmark recipe (benchmark.ts)
 *    .yaml otherwise                            a task of lm-evaluation-harness (lm-eval.ts)
 *    .json { Definition, Instances }            Natural Instructions
 *    .json { examples, metrics }                BIG-bench task.json
 *    .json { examples }                         BIG-Bench Hard
 *    rows { input, target, choices? }           Skein's own: multiple choice, or generated and compared exactly
 *    rows { inputs, targets }                   BIG-bench's Hugging Face form
 *    rows { inputs_pretokenized, ... }          P3
 *    rows { prompt, completion }                T0's training data, TRL
 *    rows { messages } { conversations } { instruction, output }    chats: the last answer is generated and scored by ROUGE-L
 *    rows { text }                              perplexity of the whole text
 *
 *  Rows are in .jsonl, .json, .csv, .tsv or .parquet, plain or gzipped. */

import { readdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { parse } from "yaml";
import { DataError } from "../../base/errors.ts";
import { type Chat, conversationOf, isConversation } from "../../data/chat-data.ts";
import type { Row } from "../../data/row.ts";
import { rowNotes } from "../../data/row-notes.ts";
import { fieldNames, isDataFile, readRows, readUtf8 } from "../../data/rows.ts";
import { isFolder } from "../../hub/cache.ts";
import { renderChat } from "../../text/chat.ts";
import { dateText } from "../../text/template/strftime.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import { readBbhTask } from "./bbh.ts";
import { loadBenchmark } from "./benchmark.ts";
import { bigBenchExamples, readBigBenchTask } from "./bigbench.ts";
import type { DataSource } from "./hub-data.ts";
import { jsonlExamples, taskOf } from "./jsonl.ts";
import { readLmEvalTask } from "./lm-eval.ts";
import { readNaturalInstructionsTask } from "./natural-instructions.ts";
import { completionExamples, p3Examples } from "./p3.ts";
import { DEFAULT_GENERATION, type Example, type Task } from "./task.ts";

/** Where datasets are, and who writes chats. */
export interface TaskFileOptions {
  /** A folder or Hugging Face cache with the datasets that a YAML file names. Default: the folder data; for a task of
   *  lm-evaluation-harness, its own folder first. */
  readonly dataFolder?: string | undefined;
  /** Used for datasets that are not in the folders. */
  readonly elsewhere?: DataSource | undefined;
  /** Renders chats with its chat template. Without a template the turns are joined by empty lines, and an Alpaca row is written with
   *  Alpaca's prompt. */
  readonly tokenizer?: Pick<Tokenizer, "chatTemplates" | "specialTokens">;
  /** The date for chat templates that write one. Default: now. */
  readonly date?: Date | undefined;
  /** Called with notes about skipped parts of the files. */
  readonly onWarning?: (message: string) => void;
}

const YAML = /\.ya?ml$/;

/** All tasks of a file or folder.
 *  @throws DataError for a file that is missing or cannot be read, with its line; OptionError for options that make no sense. */
export async function readTasks(path: string, options: TaskFileOptions = {}): Promise<Task[]> {
  if (await isFolder(path)) {
    const names = (await readdir(path)).filter((name) => isDataFile(name) || YAML.test(name)).sort();
    if (names.length === 0) {
      const fix = "Name a file, or a folder with some.";
      throw new DataError({ code: "task-not-found", what: "There is no task in this folder.", where: path, fix });
    }
    const tasks: Task[] = [];
    for (const name of names) tasks.push(...(await readTasks(join(path, name), options)));
    return tasks;
  }
  if (YAML.test(path)) return yamlTasks(path, options);
  if (/\.json(\.gz)?$/.test(path)) {
    const task = await objectTask(path);
    if (task) return [task];
  }
  return [rowsTask(nameOf(path), await readRows(path), options)];
}

async function yamlTasks(path: string, { dataFolder, elsewhere }: TaskFileOptions): Promise<Task[]> {
  const value = parsedYaml(await readUtf8(path));
  const usual = dataFolder ?? "data";
  if (isMapping(value) && Array.isArray(value.tasks)) return loadBenchmark(path, { folders: [usual], elsewhere });
  const folders = dataFolder === undefined ? [dirname(path), usual] : [usual];
  return [await readLmEvalTask(path, { sources: { folders, elsewhere } })];
}

function parsedYaml(text: string): unknown {
  try {
    return parse(text, { logLevel: "silent" });
  } catch {
    return undefined; // the reader of tasks reports the problem
  }
}

const isMapping = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** The task of a .json file with one object; undefined for a file of rows. */
async function objectTask(path: string): Promise<Task | undefined> {
  let value: unknown;
  try {
    value = JSON.parse(await readUtf8(path));
  } catch {
    return undefined; // JSON lines in a .json file, or invalid: the reader of rows reports the place
  }
  if (!isMapping(value)) return undefined;
  if ("Definition" in value && "Instances" in value) return readNaturalInstructionsTask(path);
  if (!("examples" in value)) return undefined;
  return "metrics" in value ? readBigBenchTask(path) : readBbhTask(path);
}

function rowsTask(name: string, rows: readonly Row[], options: TaskFileOptions): Task {
  const [{ value }] = rows as [Row];
  const has = (...fields: readonly string[]) => fields.every((field) => field in value);
  if (has("input", "target")) return taskOf(name, jsonlExamples(rows));
  if (has("inputs_pretokenized")) return taskOf(name, p3Examples(rows));
  if (has("inputs", "targets")) return taskOf(name, bigBenchExamples(rows));
  if (has("prompt", "completion") && typeof value.prompt === "string") return taskOf(name, completionExamples(rows));
  if (isConversation(rows[0]!)) return chatTask(name, rows, options);
  if (has("text")) return textTask(name, rows);
  throw new DataError({
    code: "data-unknown-format",
    what: `What is asked and what is answered is not known from the fields of this row: ${fieldNames(value)}.`,
    where: rows[0]!.where,
    fix: "Rename them to input and target (and choices), or say it in a YAML file with dataset_path json, csv or parquet: docs/guide/evaluation.md.",
  });
}

function textTask(name: string, rows: readonly Row[]): Task {
  const examples = rows.map(({ value: { text }, where }): Example => {
    if (typeof text === "string" && text !== "") return { input: "", target: text };
    throw new DataError({
      code: "data-empty-answer",
      what: "The text is empty or no text.",
      where,
      fix: "Fill it in, or leave the row out.",
    });
  });
  const metrics = ["token_perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte"];
  return { name, kind: "loglikelihood_rolling", examples, metrics, choiceScore: "sum", targetDelimiter: "" };
}

function chatTask(name: string, rows: readonly Row[], options: TaskFileOptions): Task {
  const { tokenizer } = options;
  const notes = rowNotes();
  const examples = rows.map((row): Example => {
    const conversation = conversationOf(row, notes);
    if (conversation.kind === "text") return { input: conversation.prompt, target: conversation.completion };
    const last = conversation.messages.findLastIndex(
      ({ role, content }) => role === "assistant" && typeof content === "string" && content !== "",
    );
    if (last < 1) {
      const fix = "Fill the answer in, or leave the row out.";
      throw new DataError({
        code: "data-empty-answer",
        what: "The answer in this conversation is empty: there is nothing to compare with.",
        where: row.where,
        fix,
      });
    }
    const isRendered = tokenizer !== undefined && tokenizer.chatTemplates.size > 0;
    const target = String(conversation.messages[last]!.content);
    return { input: promptOf(conversation, last, options), target, ...(isRendered && { isRendered }) };
  });
  for (const sentence of notes.sentences()) options.onWarning?.(`${name}: ${sentence}`);
  return {
    name,
    kind: "generate_until",
    examples,
    ...(options.date && { date: dateText(options.date) }),
    metrics: ["rougeL"],
    choiceScore: "token_mean",
    targetDelimiter: "",
    generation: { ...DEFAULT_GENERATION, until: [] },
  };
}

/** The conversation before message `answer` as the model's prompt, with the special tokens of its template. */
function promptOf(chat: Chat, answer: number, { tokenizer, date }: TaskFileOptions): string {
  const messages = chat.messages.slice(0, answer);
  if (!tokenizer || tokenizer.chatTemplates.size === 0)
    return chat.prompt ?? messages.map(({ content }) => String(content ?? "")).join("\n\n");
  const { tools, documents, templateVariables } = chat;
  return renderChat(tokenizer, messages, { addGenerationPrompt: true, tools, documents, templateVariables, date });
}

function nameOf(path: string): string {
  return basename(path).replace(/\.(jsonl|ndjson|json|csv|tsv|parquet)(\.gz)?$/, "");
}
