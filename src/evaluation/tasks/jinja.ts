/** @file Jinja templates over data rows, with Python's defaults: block tags keep the whitespace around them. A name that
 *  the row does not have is an error (jinja2.StrictUndefined), not an empty text. */

import { Environment, Interpreter, parse, tokenize } from "@huggingface/jinja";
import { DataError, messageOf } from "../../base/errors.ts";
import type { DataRecord } from "../../data/row.ts";
import { pythonFunctions } from "../../text/template/functions.ts";
import { rewriteForPython } from "../../text/template/rewrite.ts";
import { runtimeValue } from "../../text/template/runtime-value.ts";

/** Text from the fields of a row. `where` names the row in errors. */
export type Render = (fields: DataRecord, where: string) => string;

const CONSTANTS = { true: true, True: true, false: false, False: false, none: null, None: null } as const;

const PYTHON_FUNCTIONS = pythonFunctions({ tojson: "html", undefinedText: "None" });

export interface TemplateOptions {
  /** Where the template is written, for errors. */
  readonly where: string;
  /** Functions that the template may call. */
  readonly functions?: Readonly<Record<string, (...values: unknown[]) => unknown>>;
}

/** Compiles `source` once; the result renders it for each row. */
export function compileTemplate(source: string, { where, functions = {} }: TemplateOptions): Render {
  const program = parsed(source, where);
  const helpers = { range, ...functions };
  const known = new Set(["loop", ...Object.keys(helpers), ...Object.keys(CONSTANTS), ...PYTHON_FUNCTIONS.keys()]);
  const tested = /\bis\s+(not\s+)?(un)?defined\b|\|\s*default\b/.test(source);
  const needed = tested ? [] : freeNames(program).filter((name) => !known.has(name));
  const ending = source.endsWith("\n") ? "\n" : ""; // keep_trailing_newline
  return (fields, row) => {
    const missing = needed.filter((name) => !(name in fields));
    if (missing.length > 0) {
      throw new DataError({
        code: "task-bad-template",
        what: `The template uses ${missing.join(", ")}, which the row does not have (it has ${Object.keys(fields).join(", ")}).`,
        where: `${where}; ${row}`,
        fix: "Correct the name in the template, or use data with that column.",
      });
    }
    try {
      const environment = new Environment();
      for (const [name, value] of PYTHON_FUNCTIONS) environment.setVariable(name, value);
      for (const [name, value] of Object.entries(helpers)) environment.set(name, value);
      for (const [name, value] of Object.entries({ ...CONSTANTS, ...fields })) environment.setVariable(name, runtimeValue(value ?? null));
      return String(new Interpreter(environment).run(program).value) + ending;
    } catch (cause) {
      const fix = "Correct the template; filters and methods beyond those of chat templates are not supported.";
      throw new DataError({
        code: "task-bad-template",
        what: `The template fails: ${messageOf(cause)}`,
        where: `${where}; ${row}`,
        fix,
        cause,
      });
    }
  };
}

function parsed(source: string, where: string): ReturnType<typeof parse> {
  try {
    const program = parse(tokenize(source));
    rewriteForPython(program);
    return program;
  } catch (cause) {
    throw new DataError({
      code: "task-bad-template",
      what: `The template is not valid Jinja: ${messageOf(cause)}`,
      where,
      fix: "Mend it.",
      cause,
    });
  }
}

function range(start: number, stop?: number, step = 1): number[] {
  const [from, to] = stop === undefined ? [0, start] : [start, stop];
  return Array.from({ length: Math.max(0, Math.ceil((to - from) / step)) }, (_, i) => from + i * step);
}

/** The names that a template reads without defining them. */
function freeNames(program: unknown): string[] {
  const read = new Set<string>();
  const bound = new Set<string>();
  visit(program, read, bound);
  return [...read].filter((name) => !bound.has(name));
}

// Fields of the syntax tree with names of properties, filters and tests, not of variables.
const NAME_FIELDS: Readonly<Record<string, readonly string[]>> = {
  FilterExpression: ["filter"],
  TestExpression: ["test"],
  KeywordArgumentExpression: ["key"],
};
const BINDING_FIELDS: Readonly<Record<string, string>> = { For: "loopvar", Set: "assignee", Macro: "name" };

function visit(node: unknown, read: Set<string>, bound: Set<string>): void {
  if (Array.isArray(node) || node instanceof Map) {
    for (const item of node) visit(item, read, bound);
    return;
  }
  if (typeof node !== "object" || node === null || !("type" in node)) return;
  const type = String(node.type);
  const fields: DataRecord = { ...node };
  if (type === "Identifier") read.add(String(fields.value));
  for (const [name, value] of Object.entries(fields)) {
    if (name === "operator") continue; // and, or, not, in: keywords
    if (name === BINDING_FIELDS[type]) visit(value, bound, bound);
    else if (type === "MemberExpression" && name === "property" && !fields.computed) continue;
    else if (NAME_FIELDS[type]?.includes(name)) visit(callArguments(value), read, bound);
    else visit(value, read, bound);
  }
}

// A filter with arguments is a call whose callee is the filter's name.
function callArguments(filter: unknown): unknown {
  return typeof filter === "object" && filter !== null && "args" in filter ? filter.args : [];
}
