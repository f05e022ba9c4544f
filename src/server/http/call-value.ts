/** @file A call of a tool in the JSON that models write: `arguments` or `parameters`, in `function` or not, an object or its text. */

export interface ToolCall {
  readonly name: string;
  /** JSON text of an object. */
  readonly arguments: string;
}

/** The call that a JSON text is; undefined where it is none. */
export function callOf(text: string): ToolCall | undefined {
  const value = parsed(text);
  if (!isObject(value)) return undefined;
  const { name, arguments: given, parameters } = isObject(value.function) ? value.function : value;
  const args = given ?? parameters ?? {};
  if (typeof name !== "string" || name === "") return undefined;
  if (typeof args === "string") return parsed(args) === undefined ? undefined : { name, arguments: args };
  return isObject(args) ? { name, arguments: JSON.stringify(args) } : undefined;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
