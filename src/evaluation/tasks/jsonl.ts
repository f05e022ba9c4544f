/** @file Skein's own dataset format: rows of `{ input, target, targets?, choices?, label?, id? }` in .jsonl, .json, .csv or .parquet. */

import { basename } from "node:path";
import { z } from "zod";
import { DataError } from "../../base/errors.ts";
import { parseRow, type Row } from "../../data/row.ts";
import { readRows } from "../../data/rows.ts";
import { DEFAULT_GENERATION, type Example, labelsFromText, type Task } from "./task.ts";

const schema = z.strictObject({
  input: z.string(),
  target: z.string(),
  targets: z.array(z.string()).min(1).nullish(),
  choices: z.array(z.string()).min(1).nullish(),
  label: z.int().min(0).nullish(),
  id: z.union([z.string(), z.number()]).nullish(),
});

/** The examples of a file, strictly checked. */
export async function readExamples(path: string): Promise<Example[]> {
  return jsonlExamples(await readRows(path));
}

/** Examples from rows in Skein's own format, strictly checked. */
export function jsonlExamples(rows: readonly Row[]): Example[] {
  return rows.map(toExample);
}

function toExample(row: Row): Example {
  const fix = 'Write rows as {"input": text, "target": text, "choices": [text, ...] (optional)}.';
  const { input, target, targets, choices, label, id } = parseRow(schema, row, fix);
  if (target === "") {
    const what = "The target is empty: there is nothing to learn from or to compare with.";
    throw new DataError({ code: "data-empty-answer", what, where: row.where, fix: "Fill in the target, or leave the row out." });
  }
  if (choices && label != null && label >= choices.length) {
    const what = `label is ${label}, but there are ${choices.length} choices, counted from 0.`;
    throw new DataError({
      code: "task-bad-choices",
      what,
      where: row.where,
      fix: "Give the index of the right choice, or leave label out.",
    });
  }
  return {
    input,
    target,
    ...(targets && { targets }),
    ...(choices && { choices, ...labelsFromText(targets ?? [target], choices) }),
    ...(label != null && { label }),
    ...(id != null && { id: String(id) }),
  };
}

/** A task from a file: multiple choice if every row has choices, else generation compared by exact match. */
export async function readJsonlTask(path: string): Promise<Task> {
  const examples = await readExamples(path);
  const name = basename(path).replace(/\.(jsonl|ndjson|json|csv|tsv|parquet)(\.gz)?$/, "");
  return taskOf(name, examples);
}

/** A task with the metrics that its examples allow. */
export function taskOf(name: string, examples: readonly Example[]): Task {
  const isChoice = examples.every((example) => example.choices);
  const shared = { name, examples, targetDelimiter: "", choiceScore: "token_mean" as const };
  if (isChoice) return { ...shared, kind: "multiple_choice", metrics: ["accuracy"] };
  const several = examples.some((example) => (example.targets?.length ?? 0) > 1);
  const metrics = [several ? "exact_match_multiple_ans" : "exact_match"];
  return { ...shared, kind: "generate_until", metrics, generation: DEFAULT_GENERATION };
}
