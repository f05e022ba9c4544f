/** @file One row of a data file, whatever its format. */

import type { z } from "zod";
import { DataError } from "../base/errors.ts";

export type DataRecord = Readonly<Record<string, unknown>>;

export interface Row {
  readonly value: DataRecord;
  /** File and line (or row), for error messages. */
  readonly where: string;
  /** The value with its numbers as written in the file (base/json.ts), if the format has them as text. */
  readonly exact?: () => DataRecord;
}

/** The row with its numbers as written in the file. */
export function exactRow(row: Row): Row {
  return row.exact ? { ...row, value: row.exact() } : row;
}

/** Checks a row's value against a schema; the error names file, line and field. */
export function parseRow<T>(schema: z.ZodType<T>, { value, where }: Row, fix: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const problems = result.error.issues.map(({ path, message }) => `${path.join(".") || "row"}: ${message}`);
  throw new DataError({ code: "data-bad-row", what: `This row has not the fields it should have. ${problems.join("; ")}.`, where, fix });
}
