/** @file The body of a request: JSON, not too deep, and what its schema says. Fields that are null are as good as absent. */

import type { Context } from "hono";
import type { z } from "zod";
import { badField, RequestProblem } from "../problem.ts";

const DEEPEST = 64;

export async function bodyOf<T extends z.ZodType>(c: Context, schema: T): Promise<z.output<T>> {
  const type = c.req.header("content-type") ?? "";
  // Browsers send other types to foreign servers without asking.
  if (!/^application\/json\b/i.test(type)) {
    throw new RequestProblem({
      status: 415,
      message: "The body must be JSON: content-type: application/json.",
      code: "unsupported_media_type",
    });
  }
  const text = await c.req.text();
  return checked(parsed(text), schema);
}

function parsed(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new RequestProblem({ status: 400, message: "The body is no JSON.", code: "invalid_json" });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new RequestProblem({ status: 400, message: "The body must be a JSON object.", code: "invalid_json" });
  }
  if (isDeeper(value, DEEPEST)) throw new RequestProblem({ status: 400, message: "The body is nested too deeply.", code: "invalid_json" });
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== null));
}

function isDeeper(value: object, most: number): boolean {
  let level: object[] = [value];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > most) return true;
    level = level.flatMap((one) => Object.values(one).filter((inner): inner is object => typeof inner === "object" && inner !== null));
  }
  return false;
}

interface Issue {
  readonly code?: string | undefined;
  readonly message: string;
  readonly path: readonly PropertyKey[];
  readonly keys?: readonly string[];
  readonly errors?: readonly (readonly Issue[])[];
}

/** What the schema makes of a value; a field that it refuses is an error that names it. */
export function checked<T extends z.ZodType>(value: unknown, schema: T): z.output<T> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const { issue, path } = deepest(result.error.issues[0]! as Issue, []);
  const at = path.map(String).join(".");
  if (issue.code === "unrecognized_keys") {
    const key = [...path.map(String), issue.keys?.[0] ?? ""].join(".");
    throw badField(key, `Unrecognized request argument supplied: ${key}.`, "unknown_parameter");
  }
  const isMissing = issue.code === "invalid_type" && value !== null && valueAt(value, path) === undefined;
  if (isMissing) throw badField(at, `Missing required parameter: ${at}.`, "missing_required_parameter");
  throw badField(at, `Invalid value for ${at || "the body"}: ${issue.message}`);
}

/** Of a union's complaints, the one that got furthest. */
function deepest(issue: Issue, before: readonly PropertyKey[]): { issue: Issue; path: readonly PropertyKey[] } {
  const path = [...before, ...issue.path];
  const inner = (issue.errors ?? []).flatMap((errors) => (errors[0] ? [deepest(errors[0], path)] : []));
  const best = inner.reduce((a, b) => (b.path.length > a.path.length ? b : a), { issue, path });
  return best;
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (at, key) => (typeof at === "object" && at !== null ? (at as Record<PropertyKey, unknown>)[key] : undefined),
    value,
  );
}
