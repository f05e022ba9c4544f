/** @file Flags checked against the schema of what they configure. Imported when a command runs, since zod takes a while to load. */

import * as z from "zod";
import { OptionError } from "../base/errors.ts";

/** `value` as `schema` has it; all that is wrong with it is said at once. */
export function parsed<T>(schema: z.ZodType<T>, value: unknown, command: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new OptionError({
    code: "option-invalid",
    what: z.prettifyError(result.error),
    where: command,
    fix: "Add --help to the command for the options and their defaults.",
  });
}
