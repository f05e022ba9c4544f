/** @file Values as the template engine holds them. The engine does not export its classes, so they are taken from values it makes.
 *
 *  Numbers keep Python's spelling (base/json.ts). A mapping that is joined to a text reads as JSON: templates that expect the arguments
 *  of a tool call as text then write the same as those that expect an object. */

import { Environment } from "@huggingface/jinja";
import { JsonNumber, pythonFloat } from "../../base/json.ts";
import { pythonJson } from "./python-text.ts";

/** A value of the engine, whose own type declarations do not resolve in an ES module. */
export interface Value {
  readonly type: string;
  readonly value: unknown;
  toString(): string;
}
export interface TextValue extends Value {
  readonly value: string;
}
export interface ListValue extends Value {
  readonly value: readonly Value[];
}
export interface MappingValue extends Value {
  readonly value: ReadonlyMap<string, Value>;
}
export interface TruthValue extends Value {
  readonly value: boolean;
}
/** What a function of a template gets and gives. */
export type TemplateFunction = (args: readonly Value[], scope: Environment) => Value;
type Class<T> = new (value: T) => Value;

const classOf = <T>(example: unknown): Class<T> => new Environment().set("example", example).constructor as Class<T>;
const IntegerValue = classOf<number>(1);
const FloatValue = classOf<number>(0.5);
const StringValue = classOf<string>("");
const BooleanValue = classOf<boolean>(true);
const ArrayValue = classOf<readonly Value[]>([]);
const ObjectValue = classOf<ReadonlyMap<string, Value>>({});
const FunctionValue = classOf<TemplateFunction>(() => 0);
const NullValue = classOf<null>(null);
const UndefinedValue = classOf<undefined>(undefined);

/** An integer of any length: exact as text, rounded in arithmetic. */
class LongInteger extends IntegerValue {
  readonly text: string;
  constructor(text: string) {
    super(Number(text));
    this.text = text;
  }
  override toString(): string {
    return this.text;
  }
}

/** A float spelled as Python spells it. */
class PythonFloat extends FloatValue {
  override toString(): string {
    return pythonFloat(Number(this.value));
  }
}

/** The members of a mapping; as text, JSON. */
class Members extends Map<string, Value> {
  override toString(): string {
    return pythonJson(new ObjectValue(this));
  }
}

/** The arguments of a tool call: templates that print them expect their JSON. */
class CallArguments extends ObjectValue {
  override toString(): string {
    return pythonJson(this);
  }
}

export const text = (value: string): Value => new StringValue(value);
export const truth = (value: boolean): Value => new BooleanValue(value);
export const callable = (run: TemplateFunction): Value => new FunctionValue(run);
export const isText = (value: unknown): value is TextValue => value instanceof StringValue;
export const isList = (value: unknown): value is ListValue => value instanceof ArrayValue;
export const isMapping = (value: unknown): value is MappingValue => value instanceof ObjectValue;
export const isNothing = (value: unknown): boolean => value instanceof NullValue;
export const isAbsent = (value: unknown): boolean => value === undefined || value instanceof UndefinedValue;
export const isTruth = (value: unknown): value is TruthValue => value instanceof BooleanValue;
export const isFloat = (value: unknown): boolean => value instanceof FloatValue;
export const isInteger = (value: unknown): boolean => value instanceof IntegerValue;
export const isCallArguments = (value: unknown): boolean => value instanceof CallArguments;

/** A JavaScript value for templates. `key`: the member it is of the mapping around it. */
export function runtimeValue(input: unknown, key?: string): Value {
  if (input === undefined) return new UndefinedValue(undefined);
  if (input === null) return new NullValue(null);
  if (input instanceof JsonNumber) return input.isFloat ? new PythonFloat(Number(input)) : new LongInteger(input.text);
  if (typeof input === "number") return Number.isInteger(input) ? new IntegerValue(input) : new PythonFloat(input);
  if (typeof input === "string") return new StringValue(input);
  if (typeof input === "boolean") return new BooleanValue(input);
  if (Array.isArray(input)) return new ArrayValue(input.map((item) => runtimeValue(item)));
  if (typeof input !== "object") throw new Error(`Cannot be given to a template: a ${typeof input}`);
  const members = new Members(Object.entries(input).map(([name, value]) => [name, runtimeValue(value, name)]));
  return key === "arguments" ? new CallArguments(members) : new ObjectValue(members);
}
