/** @file The template engine's values. The engine does not export its classes, so they are taken from values that it makes.
 *  Numbers keep Python's spelling (base/json.ts). */

import { Environment } from "@huggingface/jinja";
import { pythonFloat } from "../../base/json.ts";

/** A value of the engine. The engine's own type declarations do not resolve in an ES module. */
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
/** The type of a template's function. */
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

/** A float in Python's spelling. */
class PythonFloat extends FloatValue {
  override toString(): string {
    return pythonFloat(Number(this.value));
  }
}

/** The arguments of a tool call. Templates that print them expect JSON. */
class CallArguments extends ObjectValue {}

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

/** Makes values of each class. */
export const make = {
  absent: (): Value => new UndefinedValue(undefined),
  nothing: (): Value => new NullValue(null),
  integer: (value: number): Value => new IntegerValue(value),
  longInteger: (digits: string): Value => new LongInteger(digits),
  float: (value: number): Value => new PythonFloat(value),
  list: (items: readonly Value[]): Value => new ArrayValue(items),
  mapping: (members: ReadonlyMap<string, Value>): MappingValue => new ObjectValue(members) as MappingValue,
  callArguments: (members: ReadonlyMap<string, Value>): Value => new CallArguments(members),
};
