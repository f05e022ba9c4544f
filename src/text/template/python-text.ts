/** @file Template values as Python writes them: json.dumps, repr, and str.strip. */

import { pythonFloat } from "../../base/json.ts";
import { isAbsent, isCallArguments, isFloat, isInteger, isList, isMapping, isNothing, isText, isTruth, type Value } from "./values.ts";

export interface JsonOptions {
  /** Spaces per level, for output on several lines. */
  readonly indent?: number | undefined;
  readonly ensureAscii?: boolean | undefined;
  /** Between items, and between a key and its value. */
  readonly separators?: readonly [string, string] | undefined;
  readonly sortKeys?: boolean | undefined;
}

/** Python's json.dumps. */
export function pythonJson(value: Value, options: JsonOptions = {}, depth = 0): string {
  if (isNothing(value) || isAbsent(value)) return "null";
  if (isTruth(value)) return String(value.value);
  if (isInteger(value)) return value.toString();
  if (isFloat(value)) return pythonFloat(Number(value.value));
  if (isText(value)) return jsonText(value.value, options);
  const { indent, sortKeys = false } = options;
  const [between = ", ", behindKey = ": "] = options.separators ?? [indent === undefined ? ", " : ",", ": "];
  const [open, close] = indent === undefined ? ["", ""] : [1, 0].map((more) => `\n${" ".repeat(indent * (depth + more))}`);
  const wrapped = (items: readonly string[]) => (items.length === 0 ? "" : `${open}${items.join(`${between}${open}`)}${close}`);
  if (isList(value)) return `[${wrapped(value.value.map((item) => pythonJson(item, options, depth + 1)))}]`;
  if (!isMapping(value)) throw new Error(`${value.type} is not JSON serializable`);
  const members = [...value.value];
  if (sortKeys) members.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return `{${wrapped(members.map(([key, item]) => `${jsonText(key, options)}${behindKey}${pythonJson(item, options, depth + 1)}`))}}`;
}

function jsonText(text: string, { ensureAscii = false }: JsonOptions): string {
  const json = JSON.stringify(text);
  return ensureAscii ? json.replace(NOT_ASCII, unicodeEscape) : json;
}

const NOT_ASCII = /[\x7f-\uffff]/g; // DEL among them, as Python has it
export const unicodeEscape = (unit: string): string => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;

/** The text that `{{ value }}` prints: str(value). */
export function pythonText(value: Value): string {
  if (isText(value)) return value.value;
  return isCallArguments(value) ? pythonJson(value) : pythonRepr(value);
}

function pythonRepr(value: Value): string {
  if (isNothing(value)) return "None";
  if (isAbsent(value)) return "Undefined";
  if (isTruth(value)) return value.value ? "True" : "False";
  if (isText(value)) return quoted(value.value);
  if (isList(value)) return `[${value.value.map(pythonRepr).join(", ")}]`;
  if (isMapping(value)) return `{${[...value.value].map(([key, item]) => `${quoted(key)}: ${pythonRepr(item)}`).join(", ")}}`;
  return isFloat(value) ? pythonFloat(Number(value.value)) : value.toString();
}

const ESCAPES: Readonly<Record<string, string>> = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" };

const CONTROLS = "\\x00-\\x1f\\x7f-\\xa0\\xad"; // as text, since a pattern with control characters looks like a mistake
const UNPRINTED = new RegExp(`[\\\\${CONTROLS}']`, "g");

/** A text as repr quotes it: in single quotes, or in double ones if it contains single quotes only. */
function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const inner = text.replace(UNPRINTED, (unit) => {
    if (unit === "'") return quote === "'" ? "\\'" : unit;
    return ESCAPES[unit] ?? `\\x${unit.charCodeAt(0).toString(16).padStart(2, "0")}`;
  });
  return `${quote}${inner}${quote}`;
}

// The characters of str.isspace. JavaScript's trim also removes U+FEFF, and keeps U+0085 and the separators U+001C to U+001F.
const SPACES = "\\t-\\r\\x1c- \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const SPACE = new RegExp(`[${SPACES}]`);

/** str.strip, lstrip and rstrip: remove white space, or the given characters. */
export function stripped(text: string, chars: string | undefined, { left = true, right = true } = {}): string {
  const taken = chars === undefined ? undefined : new Set(chars);
  const units = [...text];
  const goes = (unit: string): boolean => (taken ? taken.has(unit) : SPACE.test(unit));
  let [start, end] = [0, units.length];
  while (left && start < end && goes(units[start]!)) start++;
  while (right && end > start && goes(units[end - 1]!)) end--;
  return units.slice(start, end).join("");
}
