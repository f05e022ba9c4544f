/** @file The methods as plain data: for the command line, the documentation, and schemas of servers. */

import * as z from "zod";
import { METHODS } from "./registry.ts";

export interface DescribedOption {
  readonly name: string;
  /** "integer", "number", "boolean", "string", a list of values, or several joined by "or". */
  readonly type: string;
  /** Absent if the option has no default: it is required, or the description explains what its absence means. */
  readonly default?: unknown;
  readonly isRequired: boolean;
  readonly description: string;
}
export interface DescribedMethod {
  readonly name: string;
  readonly otherNames: readonly string[];
  readonly description: string;
  readonly needs: string;
  readonly options: readonly DescribedOption[];
  /** Whether rows of a batch may choose their own experts. */
  readonly takesRows: boolean;
}

interface JsonSchema {
  readonly type?: string;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly JsonSchema[];
  readonly items?: JsonSchema;
  readonly default?: unknown;
  readonly description?: string;
}

/** Every method of the registry. */
export function describedMethods(): DescribedMethod[] {
  return METHODS.map(({ name, description, needs, options, otherNames = {}, refuses }) => {
    const { properties = {}, required = [] } = z.toJSONSchema(options, { io: "input", unrepresentable: "any" });
    return {
      name,
      otherNames: Object.keys(otherNames),
      description,
      needs,
      options: Object.entries(properties as Record<string, JsonSchema>).map(([option, schema]) => described(option, schema, required)),
      takesRows: refuses?.rows === undefined,
    };
  });
}

function described(name: string, schema: JsonSchema, required: readonly string[]): DescribedOption {
  const { default: usual, description = "" } = schema;
  return { name, type: typeOf(schema), ...(usual !== undefined && { default: usual }), isRequired: required.includes(name), description };
}

function typeOf({ type, enum: values, anyOf, items }: JsonSchema): string {
  if (anyOf) return anyOf.map(typeOf).join(" or ");
  if (values) return values.join(" | ");
  return type === "array" && items ? `list of ${typeOf(items)}` : (type ?? "any");
}
