/** @file Flags checked against the schema of what they configure. It is imported when a command runs, since zod loads slowly. */

import * as z from "zod";
import { OptionError } from "../base/errors.ts";

/** Parses `value` with `schema`. The error lists all problems at once. */
export function parsed<T>(schema: z.ZodType<T>, value: unknown, command: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new OptionError({
    code: "option-invalid",
    what: z.prettifyError(result.error),
    where: command,
    fix: "Run the command with --help to see the options and their defaults.",
  });
}
