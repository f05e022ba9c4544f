/** @file The functions that rewritten templates call (rewrite.ts). */

import { type JsonOptions, pythonJson, pythonText, stripped, unicodeEscape } from "./python-text.ts";
import { callable, isAbsent, isList, isMapping, isNothing, isText, isTruth, make, text, type Value } from "./values.ts";

export interface Dialect {
  /** Jinja's own tojson sorts keys and escapes HTML; transformers' writes plain JSON. */
  readonly tojson: "html" | "plain";
  /** The text of an undefined value. */
  readonly undefinedText: string;
}

/** Functions by name, as template values. */
export function pythonFunctions({ tojson, undefinedText }: Dialect): ReadonlyMap<string, Value> {
  const functions = {
    __print: (value: Value | undefined) => text(isAbsent(value) ? undefinedText : pythonText(value!)),
    __concat: (left: Value, right: Value) => text(`${concatenated(left)}${concatenated(right)}`),
    __tojson: (value: Value, ...args: Value[]) => text(tojson === "html" ? htmlJson(value, args) : plainJson(value, args)),
    __index: (items: Value, item: Value) => {
      const at = position(items, item);
      if (at < 0) throw new Error(`${pythonText(item)} is not in ${pythonText(items)}`);
      return make.integer(at);
    },
    __find: (items: Value, item: Value) => make.integer(position(items, item)),
    __count: (items: Value, item: Value) => make.integer(occurrences(items, item)),
    __join: (separator: Value, items: Value) =>
      text(
        isList(items)
          ? items.value.map(pythonText).join(pythonText(separator))
          : isText(items)
            ? [...items.value].join(pythonText(separator))
            : "",
      ),
    __strip: (value: Value, chars?: Value) => strip(value, chars),
    __lstrip: (value: Value, chars?: Value) => strip(value, chars, { right: false }),
    __rstrip: (value: Value, chars?: Value) => strip(value, chars, { left: false }),
  };
  return new Map(
    Object.entries(functions).map(([name, run]) => [name, callable((args) => (run as (...values: Value[]) => Value)(...args))]),
  );
}

function concatenated(value: Value): string {
  return isAbsent(value) ? "" : pythonText(value);
}

function position(items: Value, item: Value): number {
  if (isText(items)) return items.value.indexOf(pythonText(item));
  return isList(items) ? items.value.findIndex((member) => member.value === item.value) : -1;
}

function occurrences(items: Value, item: Value): number {
  if (isText(items)) return items.value.split(pythonText(item)).length - 1;
  return isList(items) ? items.value.filter((member) => member.value === item.value).length : 0;
}

function strip(value: Value, chars: Value | undefined, sides = {}): Value {
  if (!isText(value)) throw new Error(`strip of ${value.type}`);
  return text(stripped(value.value, isText(chars) ? chars.value : undefined, sides));
}

/** transformers' tojson: json.dumps with its arguments, ensure_ascii false. */
function plainJson(value: Value, args: readonly Value[]): string {
  const { positional, named } = argumentsOf(args);
  const given = (name: string, at: number) => named.get(name) ?? positional[at];
  return pythonJson(value, {
    ensureAscii: flag(given("ensure_ascii", 0)),
    indent: indentOf(given("indent", 1)),
    separators: separatorsOf(given("separators", 2)),
    sortKeys: flag(given("sort_keys", 3)),
  });
}

/** Jinja's tojson: markupsafe's htmlsafe_json_dumps. */
function htmlJson(value: Value, args: readonly Value[]): string {
  const { positional, named } = argumentsOf(args);
  const json = pythonJson(value, { ensureAscii: true, sortKeys: true, indent: indentOf(named.get("indent") ?? positional[0]) });
  return json.replace(/[<>&']/g, unicodeEscape);
}

/** The arguments of a call; the engine passes the named ones as a mapping in the last place. */
function argumentsOf(args: readonly Value[]): { positional: readonly Value[]; named: ReadonlyMap<string, Value> } {
  const last = args.at(-1);
  if (last !== undefined && last.type === "KeywordArgumentsValue" && isMapping(last))
    return { positional: args.slice(0, -1), named: last.value };
  return { positional: args, named: new Map() };
}

const flag = (value: Value | undefined): boolean => isTruth(value) && value.value;

function indentOf(value: Value | undefined): number | undefined {
  if (value === undefined || isNothing(value) || isAbsent(value)) return undefined;
  return Number(value.value);
}

function separatorsOf(value: Value | undefined): JsonOptions["separators"] {
  if (!isList(value) || value.value.length !== 2) return undefined;
  return [pythonText(value.value[0]!), pythonText(value.value[1]!)];
}
