/** @file JavaScript values as template values.
 *
 *  A mapping that is joined to a text becomes JSON. Templates that expect the arguments of a tool call as text then write the same text as
 *  those that expect an object. */

import { JsonNumber } from "../../base/json.ts";
import { pythonJson } from "./python-text.ts";
import { make, text, truth, type Value } from "./values.ts";

/** The members of a mapping; as text, JSON. */
class Members extends Map<string, Value> {
  override toString(): string {
    return pythonJson(make.mapping(this));
  }
}

/** A JavaScript value as a template value. `key`: its key in the mapping that contains it. */
export function runtimeValue(input: unknown, key?: string): Value {
  if (input === undefined) return make.absent();
  if (input === null) return make.nothing();
  if (input instanceof JsonNumber) return input.isFloat ? make.float(Number(input)) : make.longInteger(input.text);
  if (typeof input === "number") return Number.isInteger(input) ? make.integer(input) : make.float(input);
  if (typeof input === "string") return text(input);
  if (typeof input === "boolean") return truth(input);
  if (Array.isArray(input)) return make.list(input.map((item) => runtimeValue(item)));
  if (typeof input !== "object") throw new Error(`Cannot be given to a template: a ${typeof input}`);
  const members = new Members(Object.entries(input).map(([name, value]) => [name, runtimeValue(value, name)]));
  return key === "arguments" ? make.callArguments(members) : make.mapping(members);
}
