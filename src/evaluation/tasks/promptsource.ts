/** @file Prompts of promptsource (Bach et al. 2022): `templates.yaml` files, applied to the rows of the original datasets.
 *
 *  A template is Jinja text `prompt ||| target`; `answer_choices` is Jinja that gives the choices between "|||". The
 *  PHATGOOSE authors evaluate T0's held-out tasks on every row with every template of the original task, in the order of
 *  template names. If a template gives no target for a row, both texts are "<NO INPUT>", and the row counts. */

import { parseDocument } from "yaml";
import { z } from "zod";
import { DataError, messageOf } from "../../base/errors.ts";
import type { DataRecord, Row } from "../../data/row.ts";
import { readUtf8 } from "../../data/rows.ts";
import { compileTemplate, type Render } from "./jinja.ts";
import { type Example, labelsFromText } from "./task.ts";

const TEXT_LIMIT = 2048; // promptsource's TEXT_VAR_LENGTH
const LEEWAY = 5; // Jinja's truncate filter
const PIPES = "|||";
const PROTECTED = "3ed2dface8203c4c9dfb1a5dc58e41e0"; // replaces ||| inside the data, as in promptsource

export interface PromptTemplate {
  readonly name: string;
  readonly isOriginalTask: boolean;
  /** Prompt, target and choices for one row. */
  readonly apply: (row: Row) => Example;
}

const fileSchema = z.object({
  templates: z.record(
    z.string(),
    z.object({
      name: z.string(),
      jinja: z.string(),
      answer_choices: z.string().nullish(),
      metadata: z.object({ original_task: z.boolean().nullish() }).nullish(),
    }),
  ),
});
type TemplateEntry = z.infer<typeof fileSchema>["templates"][string];

/** The templates of a templates.yaml, in the order of their names (by code point, as Python sorts). */
export async function readPromptTemplates(path: string): Promise<PromptTemplate[]> {
  const document = parseDocument(await readUtf8(path), { logLevel: "silent" }); // !Template tags are only names
  const [error] = document.errors;
  const result = fileSchema.safeParse(error ? undefined : document.toJS());
  if (!result.success) {
    const what = `Not a promptsource file. ${error ? messageOf(error) : z.prettifyError(result.error)}`;
    throw new DataError({ code: "task-bad-file", what, where: path, fix: "Take promptsource/templates/<dataset>/templates.yaml." });
  }
  return Object.values(result.data.templates)
    .map((entry) => compile(entry, path))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

export interface TemplateSelection {
  /** Only templates for the dataset's original task (default true). */
  readonly originalTask?: boolean;
  readonly ignore?: readonly string[];
}

/** The templates to use, in order. */
export function selectTemplates(templates: readonly PromptTemplate[], selection: TemplateSelection = {}): PromptTemplate[] {
  const { originalTask = true, ignore = [] } = selection;
  return templates.filter((template) => (template.isOriginalTask || !originalTask) && !ignore.includes(template.name));
}

/** Every row with every template: all templates of the first row, then of the second, and so on. */
export function promptExamples(rows: readonly Row[], templates: readonly PromptTemplate[]): Example[] {
  return rows.flatMap((row, i) => templates.map((template) => ({ ...template.apply(row), id: `${i}/${template.name}` })));
}

function compile({ name, jinja, answer_choices, metadata }: TemplateEntry, path: string): PromptTemplate {
  const where = `${path}, template "${name}"`;
  const render = compileTemplate(jinja, { where });
  const renderCut = compileTemplate(cutting(jinja), { where, functions: { cut } });
  const renderChoices = answer_choices ? compileTemplate(answer_choices, { where }) : undefined;
  return {
    name,
    isOriginalTask: metadata?.original_task === true,
    apply: (row) => {
      const fields = protect(row.value);
      const choices = renderChoices && parts(renderChoices(fields, row.where));
      const isLong = Object.values(fields).some((value) => JSON.stringify(value ?? null).length > TEXT_LIMIT);
      return example(isLong ? renderCut : render, { ...fields, answer_choices: choices ?? null }, { row, choices });
    },
  };
}

function example(render: Render, fields: DataRecord, { row, choices }: { row: Row; choices: string[] | undefined }): Example {
  const rendered = parts(render(fields, row.where));
  const [input, target] = rendered.length === 2 ? rendered : ["<NO INPUT>", "<NO INPUT>"];
  const answer = target === "" ? "<NO LABEL>" : target!;
  return { input: input!, target: answer, ...(choices && { choices, ...labelsFromText([answer], choices) }) };
}

function parts(rendered: string): string[] {
  return rendered.split(PIPES).map((part) => part.trim().replaceAll(PROTECTED, PIPES));
}

function protect(fields: DataRecord): DataRecord {
  const entries = Object.entries(fields).map(([name, value]) => [
    name,
    typeof value === "string" ? value.replaceAll(PIPES, PROTECTED) : value,
  ]);
  return Object.fromEntries(entries);
}

/** Every `{{ expression }}` as `{{ cut(expression) }}`: promptsource shortens each value to 2048 characters. */
function cutting(jinja: string): string {
  return jinja.replace(/\{\{(-?)([\s\S]*?)(-?)\}\}(?!\s*\[)/g, "{{$1 cut($2) $3}}");
}

/** Jinja's `truncate`: at the last blank before the limit, with "..." for the rest. */
function cut(value: unknown): unknown {
  if (typeof value !== "string" || value.length <= TEXT_LIMIT + LEEWAY) return value;
  const kept = value.slice(0, TEXT_LIMIT - 3);
  const blank = kept.lastIndexOf(" ");
  return `${blank < 0 ? kept : kept.slice(0, blank)}...`;
}
