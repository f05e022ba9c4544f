/** @file Parses a checkpoint's config.json for an architecture. */

import type * as z from "zod";
import { CheckpointError } from "../base/errors.ts";

/** Parses with `schema`; one error lists all problems with their fields. */
export function parseConfig<T>(schema: z.ZodType<T>, raw: Readonly<Record<string, unknown>>): T {
  const result = schema.safeParse(raw);
  if (result.success) return result.data;
  const problems = result.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`);
  throw new CheckpointError({
    code: "checkpoint-bad-config",
    what: `The model's configuration does not fit its model_type "${raw.model_type}": ${problems.join("; ")}.`,
    where: "config.json",
    fix: "Compare the file with the published checkpoint's.",
  });
}
