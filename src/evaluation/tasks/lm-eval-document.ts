/** @file How a task of lm-evaluation-harness reads a row: doc_to_text, doc_to_target and doc_to_choice.
 *
 *  Each is the name of a column, or a Jinja template. A rendered number is an index into the choices, and a rendered list
 *  is a list (api/task.py, `ConfigurableTask`). */

import { DataError } from "../../base/errors.ts";
import { JsonNumber } from "../../base/json.ts";
import { exactRow, type Row } from "../../data/row.ts";
import { compileTemplate } from "./jinja.ts";
import type { LmEvalConfig } from "./lm-eval-config.ts";
import { parseListLiteral } from "./python-literal.ts";

export interface DocumentTarget {
  readonly target: string;
  readonly targets?: readonly string[];
  /** Set if the target is an index into the choices. */
  readonly label?: number;
}

export interface DocumentReader {
  readonly description: (row: Row) => string;
  readonly text: (row: Row) => string;
  readonly target: (row: Row) => DocumentTarget;
  readonly choices: (row: Row) => readonly string[] | undefined;
}

/** The functions that read rows by the task's templates. */
export function documentReader(config: LmEvalConfig, path: string): DocumentReader {
  const text = fieldReader(config.doc_to_text, `${path}, doc_to_text`);
  const target = fieldReader(config.doc_to_target, `${path}, doc_to_target`);
  const choice = config.doc_to_choice;
  const choices = choice == null ? () => undefined : choiceReader(choice, `${path}, doc_to_choice`);
  const description = compileTemplate(config.description, { where: `${path}, description` });
  return {
    description: ({ value, where }) => description(value, where),
    text: (row) => {
      const value = text(row);
      if (typeof value === "string") return value;
      const what = `doc_to_text gives ${JSON.stringify(value)}; tasks with several inputs per row are not supported.`;
      throw new DataError({ code: "task-unsupported", what, where: `${path}; ${row.where}`, fix: "Let doc_to_text give one text." });
    },
    target: (row) => toTarget(target(row), choice != null),
    choices,
  };
}

function toTarget(value: unknown, hasChoices: boolean): DocumentTarget {
  if (Array.isArray(value)) return { target: String(value[0] ?? ""), targets: value.map(String) };
  if (hasChoices && (typeof value === "number" || typeof value === "boolean" || value instanceof JsonNumber))
    return { target: "", label: Number(value) };
  const text = typeof value === "string" ? value : String(value ?? "");
  if (hasChoices && /^\d+$/.test(text)) return { target: "", label: Number(text) };
  const list = hasChoices ? undefined : parseListLiteral(text);
  return list ? toTarget(list, hasChoices) : { target: text };
}

function choiceReader(choice: NonNullable<LmEvalConfig["doc_to_choice"]>, where: string): (row: Row) => readonly string[] {
  if (typeof choice !== "string") {
    const fixed = Array.isArray(choice) ? choice : Object.values(choice);
    return () => fixed;
  }
  const read = fieldReader(choice, where);
  return (row) => {
    const value = read(row);
    const list = Array.isArray(value) ? value : parseListLiteral(String(value));
    if (list) return list.map(String);
    const what = `doc_to_choice gives ${JSON.stringify(value)}, which is no list.`;
    throw new DataError({ code: "task-bad-choices", what, where: `${where}; ${row.where}`, fix: 'Let it give a list such as ["A", "B"].' });
  };
}

/** `exactRow`, remembered for the fields of one row. */
const exactly = lastCall(exactRow);

function lastCall<A extends object, B>(compute: (argument: A) => B): (argument: A) => B {
  let last: { argument: A; result: B } | undefined;
  return (argument) => {
    if (last?.argument !== argument) last = { argument, result: compute(argument) };
    return last.result;
  };
}

/** A column's value if `source` is a column's name, else the rendered template. */
function fieldReader(source: string | number | readonly string[], where: string): (row: Row) => unknown {
  if (typeof source !== "string") return () => source;
  const render = compileTemplate(source, { where });
  return (row) => {
    const { value, where } = exactly(row); // templates print numbers as the file spells them
    return source in value ? value[source] : render(value, where);
  };
}
