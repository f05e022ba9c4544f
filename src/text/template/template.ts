/** @file Chat templates, rendered as transformers renders them (utils/chat_template_utils.py): Jinja with trim_blocks and lstrip_blocks,
 *  `raise_exception`, `strftime_now`, a plain `tojson`, and the tags {% generation %} ... {% endgeneration %} around what the assistant says. */

import { Environment, Interpreter, parse, tokenize } from "@huggingface/jinja";
import { CheckpointError, messageOf } from "../../base/errors.ts";
import { pythonFunctions } from "./functions.ts";
import { rewriteForPython } from "./rewrite.ts";
import { runtimeValue } from "./runtime-value.ts";
import { strftime } from "./strftime.ts";
import { callable, isText, text, type Value } from "./values.ts";

/** A part of a text: from `start` to before `end`. */
export interface Span {
  readonly start: number;
  readonly end: number;
}
export interface Rendering {
  readonly text: string;
  /** The parts inside {% generation %}; empty for templates without it. */
  readonly generated: readonly Span[];
}

type Program = ReturnType<typeof parse>;
const programs = new Map<string, Program>(); // parsing takes a hundred times longer than rendering

/** The parsed template. Invalid Jinja is refused. */
export function parsedTemplate(source: string): Program {
  const known = programs.get(source);
  if (known) return known;
  try {
    const program = parse(tokenize(withGenerationCalls(source), { lstrip_blocks: true, trim_blocks: true }));
    rewriteForPython(program);
    programs.set(source, program);
    return program;
  } catch (error) {
    throw new CheckpointError({
      code: "template-broken",
      what: `The chat template is not valid Jinja: ${messageOf(error)}.`,
      where: "tokenizer_config.json or chat_template.jinja",
      fix: "Correct the template.",
      cause: error,
    });
  }
}

/** Renders a template; an exception that the template raises is thrown unchanged. */
export function renderTemplate(source: string, variables: Readonly<Record<string, unknown>>, now: () => Date): Rendering {
  const environment = new Environment();
  const names = { ...CONSTANTS, ...variables };
  for (const [name, value] of Object.entries(names)) environment.setVariable(name, runtimeValue(value));
  for (const [name, value] of FUNCTIONS) environment.setVariable(name, value);
  environment.set("range", range);
  environment.setVariable(
    "strftime_now",
    callable(([format]) => text(strftime(now(), isText(format) ? format.value : ""))),
  );
  const marked = String(new Interpreter(environment).run(parsedTemplate(source)).value);
  return withoutMarks(marked);
}

/** Whether a template uses a variable or key of this name. */
export function mentions(source: string, name: string): boolean {
  return new RegExp(`\\b${name.replace(/[^\w]/g, "\\$&")}\\b`).test(source.replace(/\{#.*?#\}/gs, ""));
}

/** Whether a template marks the assistant's part of an answer. */
export function marksGeneration(source: string): boolean {
  return GENERATION.test(source);
}

const CONSTANTS = { true: true, True: true, false: false, False: false, none: null, None: null } as const;
const [START, END] = [`<${crypto.randomUUID()}>`, `</${crypto.randomUUID()}>`]; // no conversation holds them

const FUNCTIONS: ReadonlyMap<string, Value> = new Map([
  ...pythonFunctions({ tojson: "plain", undefinedText: "" }),
  [
    "raise_exception",
    callable(([message]) => {
      throw new Error(isText(message) ? message.value : "the template refuses it");
    }),
  ],
  ["__generation", callable((_, scope) => generation(scope))],
]);

function generation(scope: Environment): Value {
  const caller = scope.lookupVariable("caller").value as unknown as (args: readonly Value[], scope: Environment) => Value;
  return text(`${START}${String(caller([], scope).value)}${END}`);
}

const GENERATION = /\{%([-+]?)\s*generation\s*([-+]?)%\}/;

/** Replaces the generation tags, which the engine drops, by calls. They keep their place, and white space is removed as around any tag. */
function withGenerationCalls(source: string): string {
  return source
    .replace(new RegExp(GENERATION, "g"), "{%$1 call __generation() $2%}")
    .replace(/\{%([-+]?)\s*endgeneration\s*([-+]?)%\}/g, "{%$1 endcall $2%}");
}

function withoutMarks(marked: string): Rendering {
  const generated: Span[] = [];
  const [first = "", ...parts] = marked.split(START);
  let whole = first;
  for (const part of parts) {
    const [inside = "", ...after] = part.split(END);
    generated.push({ start: whole.length, end: whole.length + inside.length });
    whole += inside + after.join("");
  }
  return { text: whole, generated };
}

function range(start: number, stop?: number, step = 1): number[] {
  const [from, to] = stop === undefined ? [0, start] : [start, stop];
  return Array.from({ length: Math.max(0, Math.ceil((to - from) / step)) }, (_, i) => from + i * step);
}
