/** @file Flags from a zod object: names, values, ranges, choices, defaults and descriptions come from the library's own schema,
 *  so that each is written once.
 *
 *      maxNewTokens: z.int().min(1).default(256)        --max-new-tokens <n>   a whole number of at least 1 (default: 256)
 *      packing: z.boolean().default(false)              --packing
 *      labels: z.boolean().default(true)                --no-labels
 *      kind: z.enum(["lora", "ia3"]).default("lora")    --kind <word>          choices
 *      metrics: z.array(z.string())                     --metrics <names>      with commas between; with meta `variadic`, spaces;
 *                                                     with `repeat`, the flag again for each
 *      schedule: z.discriminatedUnion("kind", ...)      --schedule <kind>, and a flag for each field of its kinds
 *
 *  A field's .meta() may have `value`, the word for its value in help ("dir"); `unset`, the behavior without a default; and
 *  `off`, the description of the flag --no-... */

import { type Command, InvalidArgumentError, Option } from "commander";
import * as z from "zod";

/** A field in JSON Schema, with the entries of .meta(). */
export interface Field {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly string[];
  readonly const?: string;
  readonly minimum?: number;
  readonly exclusiveMinimum?: number;
  readonly maximum?: number;
  readonly exclusiveMaximum?: number;
  readonly items?: Field;
  readonly anyOf?: readonly Field[];
  readonly oneOf?: readonly (Field & { readonly properties?: Readonly<Record<string, Field>> })[];
  readonly value?: string;
  readonly unset?: string;
  readonly off?: string;
  readonly variadic?: boolean;
  readonly repeat?: boolean;
}

export interface FlagRules {
  /** Fields that are not flags, or that the command declares itself. */
  readonly omit?: readonly string[];
  /** Flags with another name than the field: { topK: "sampleTopK" }. */
  readonly names?: Readonly<Record<string, string>>;
  /** Special parsers from a flag's text to the field's value. */
  readonly parsers?: Readonly<Record<string, (text: string) => unknown>>;
  /** Texts that help shows instead of the schema's default. */
  readonly unset?: Readonly<Record<string, string>>;
  /** The heading under which help lists the flags. */
  readonly group?: string;
}

/** The input fields of a schema, in its order. */
export function fieldsOf(schema: z.ZodObject): { fields: [string, Field][]; required: ReadonlySet<string> } {
  const { properties = {}, required = [] } = z.toJSONSchema(schema, { io: "input", unrepresentable: "any" });
  return { fields: Object.entries(properties) as [string, Field][], required: new Set(required) };
}

/** Adds a flag for each field of `schema` to `command`. */
export function withOptions(command: Command, schema: z.ZodObject, rules: FlagRules = {}): Command {
  const { fields, required } = fieldsOf(schema);
  for (const [name, field] of fields) {
    if (rules.omit?.includes(name)) continue;
    for (const option of optionsOf(name, field, rules)) {
      if (required.has(name)) option.makeOptionMandatory();
      if (rules.group !== undefined) option.helpGroup(rules.group);
      command.addOption(option);
    }
  }
  return command;
}

/** The given flags that are fields of `schema`, under the schema's names. */
export function optionsFrom(schema: z.ZodObject, flags: object, { omit = [], names = {} }: FlagRules = {}): Record<string, unknown> {
  const given = new Map(Object.entries(flags).filter(([, value]) => value !== undefined));
  const found: Record<string, unknown> = {};
  for (const [name, field] of fieldsOf(schema).fields) {
    if (omit.includes(name)) continue;
    const value = given.get(names[name] ?? name);
    const inner = [...kindFields(field).keys()].filter((key) => given.has(key));
    if (inner.length > 0) {
      const kind = value ?? (field.default as { kind?: string } | undefined)?.kind;
      found[name] = { kind, ...Object.fromEntries(inner.map((key) => [key, given.get(key)])) };
    } else if (value !== undefined) found[name] = field.oneOf ? { kind: value } : value;
  }
  return found;
}

function optionsOf(name: string, field: Field, rules: FlagRules): Option[] {
  const { names = {}, parsers = {}, unset = {} } = rules;
  const flag = kebab(names[name] ?? name);
  const text = described(field, unset[name]);
  if (field.type === "boolean") {
    const isOn = field.default === true;
    return [new Option(isOn ? `--no-${flag}` : `--${flag}`, isOn ? described({ ...field, description: field.off }, undefined) : text)];
  }
  if (field.oneOf) {
    const kinds = field.oneOf.map(({ properties }) => properties?.kind?.const ?? "");
    const inner = [...kindFields(field)].flatMap(([key, one]) => optionsOf(key, one, rules));
    const first = (field.default as { kind?: string } | undefined)?.kind;
    const help = described({ ...field, default: first, enum: kinds }, unset[name]);
    return [new Option(`--${flag} <kind>`, help).argParser(oneOf(kinds)), ...inner];
  }
  const isVariadic = field.variadic === true;
  const option = new Option(`--${flag} <${wordFor(field)}${isVariadic ? "..." : ""}>`, text);
  if (field.repeat) return [option.argParser((one: string, all: readonly string[] = []) => [...all, one])];
  const parse = parsers[name] ?? (isVariadic ? undefined : parserOf(field));
  return [parse ? option.argParser(parse) : option];
}

/** The fields of a union's kinds, each once. */
function kindFields({ oneOf: kinds = [] }: Field): ReadonlyMap<string, Field> {
  const all = new Map<string, Field>();
  for (const { properties = {} } of kinds)
    for (const [key, field] of Object.entries(properties)) if (key !== "kind" && !all.has(key)) all.set(key, field);
  return all;
}

function described({ description = "", default: standard, enum: words, unset }: Field, own: string | undefined): string {
  const choices = words && !words.every((word) => description.includes(word)) ? [words.join(", ")] : [];
  const isSaid = standard === undefined || typeof standard === "boolean" || (typeof standard === "object" && isEmpty(standard));
  const without = own ?? unset ?? (isSaid ? undefined : String(standard));
  const plain = description.replace(/\.$/, "").replace(/^[A-Z][a-z]*(?=[\s,:;]|$)/, (word) => word.toLowerCase());
  const text = [plain, ...choices].filter((part) => part !== "").join(": ");
  return without === undefined ? text : `${text} (default: ${without})`;
}

function isEmpty(value: unknown): boolean {
  return value === null || Object.keys(value as object).length === 0;
}

function wordFor({ value, type, enum: words, items }: Field): string {
  if (value !== undefined) return value;
  if (words) return "word";
  if (type === "integer") return "n";
  if (type === "number") return "x";
  return items ? "names" : "text";
}

function parserOf(field: Field): ((text: string) => unknown) | undefined {
  if (field.enum) return oneOf(field.enum);
  if (field.type === "integer" || field.type === "number") return numberOf(field);
  if (field.type !== "array") return undefined;
  const item = field.items && parserOf(field.items);
  return (text) => list(text).map((part) => (item ? item(part) : part));
}

/** A parser of one of these words. */
function oneOf(words: readonly string[]): (text: string) => string {
  return (text) => {
    if (words.includes(text)) return text;
    throw new InvalidArgumentError(`Expected one of ${words.join(", ")}.`);
  };
}

function numberOf(field: Field): (text: string) => number {
  const { type, minimum, exclusiveMinimum: above, maximum, exclusiveMaximum: below } = field;
  const least = minimum === Number.MIN_SAFE_INTEGER ? undefined : minimum;
  const most = maximum === Number.MAX_SAFE_INTEGER ? undefined : maximum;
  const bounds = [
    ...(least === undefined ? [] : [`of at least ${least}`]),
    ...(above === undefined ? [] : [`above ${above}`]),
    ...(most === undefined ? [] : [`at most ${most}`]),
    ...(below === undefined ? [] : [`below ${below}`]),
  ];
  const expected = `Expected a ${type === "integer" ? "whole " : ""}number${bounds.length > 0 ? ` ${bounds.join(" and ")}` : ""}.`;
  return (text) => {
    const value = Number(text);
    const isNumber = text.trim() !== "" && (type === "integer" ? Number.isSafeInteger(value) : Number.isFinite(value));
    const isWithin =
      value >= (least ?? -Infinity) && value > (above ?? -Infinity) && value <= (most ?? Infinity) && value < (below ?? Infinity);
    if (isNumber && isWithin) return value;
    throw new InvalidArgumentError(expected);
  };
}

/** "a,b,c" as a list. */
export function list(text: string): string[] {
  return text
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");
}

/** PEFT's target_modules: names, "q,v"; or one text, "all-linear" or a regular expression. */
export function targetModulesFlag(text: string): string | string[] {
  return /^[\w.,\s]*$/.test(text) ? list(text) : text;
}

function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
