/** @file P3, the prompted datasets T0 was trained on (Sanh et al. 2022): `bigscience/P3` rows, and prompt/completion lines.
 *
 *    rows        { inputs_pretokenized, targets_pretokenized, answer_choices? }; T5's token ids in the rows are not used
 *    score_eval  one row per choice: { idx: [example, choice], inputs_pretokenized, targets_pretokenized, is_correct }
 *    lines       { prompt, completion }, completion ending in "<|endoftext|>"
 *
 *  Texts are stripped on both sides, like rendered texts in promptsource. */

import { z } from "zod";
import { DataError } from "../../base/errors.ts";
import { parseRow, type Row } from "../../data/row.ts";
import { withoutEndOfText } from "../../data/training-data.ts";
import { type Example, labelsFromText } from "./task.ts";

const rowSchema = z.object({
  inputs_pretokenized: z.string(),
  targets_pretokenized: z.string(),
  answer_choices: z.array(z.string()).nullish(),
});
const choiceSchema = rowSchema.extend({ idx: z.array(z.number()).length(2), is_correct: z.boolean() });
const lineSchema = z.strictObject({ prompt: z.string(), completion: z.string() });

/** Examples from rows of P3, `_score_eval` rows included. */
export function p3Examples(rows: readonly Row[]): Example[] {
  if (rows[0] && "is_correct" in rows[0].value) return scoredExamples(rows);
  return rows.map((row) => {
    const fix = "Use a Parquet file of bigscience/P3, with its *_pretokenized columns.";
    const { inputs_pretokenized, targets_pretokenized, answer_choices } = parseRow(rowSchema, row, fix);
    const choices = answer_choices?.map((choice) => choice.trim());
    const target = nonEmpty(targets_pretokenized.trim(), row.where);
    const answers = choices?.length ? { choices, ...labelsFromText([target], choices) } : {};
    return { input: inputs_pretokenized.trim(), target, ...answers };
  });
}

function scoredExamples(rows: readonly Row[]): Example[] {
  const groups = new Map<number, z.infer<typeof choiceSchema>[]>();
  for (const row of rows) {
    const choice = parseRow(choiceSchema, row, "Use a *_score_eval file of bigscience/P3.");
    const group = groups.get(choice.idx[0]!) ?? [];
    group[choice.idx[1]!] = choice;
    groups.set(choice.idx[0]!, group);
  }
  return [...groups].map(([id, group]) => {
    const label = group.findIndex((choice) => choice.is_correct);
    const choices = group.map((choice) => choice.targets_pretokenized.trim());
    if (label < 0 || choices.length !== Object.keys(group).length) {
      const what = `Example ${id} has ${label < 0 ? "no right choice" : "a gap among its choices"}.`;
      throw new DataError({ code: "task-bad-choices", what, where: rows[0]!.where, fix: "Use the complete *_score_eval file." });
    }
    return { input: group[0]!.inputs_pretokenized.trim(), target: choices[label]!, choices, label, id: String(id) };
  });
}

/** Examples from lines `{ prompt, completion }`. */
export function completionExamples(rows: readonly Row[]): Example[] {
  return rows.map((row) => {
    const fix = 'Write lines as {"prompt": text, "completion": text}.';
    const { prompt, completion } = parseRow(lineSchema, row, fix);
    return { input: prompt.trim(), target: nonEmpty(withoutEndOfText(completion).trim(), row.where) };
  });
}

function nonEmpty(target: string, where: string): string {
  if (target !== "") return target;
  const what = "The target is empty: there is nothing to learn from or to compare with.";
  throw new DataError({ code: "data-empty-answer", what, where, fix: "Leave such rows out, or use another template of the dataset." });
}
