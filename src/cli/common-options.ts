/** @file Options that several commands share, each defined once. */

import { InvalidArgumentError } from "commander";
import * as z from "zod";
import { precisionOption } from "../quantization/scheme.ts";
import { deviceOption } from "../runtime/device.ts";
import { parseDate } from "../text/template/strftime.ts";

export const base = z.string().meta({ description: "The base model: a folder or a Hugging Face id.", value: "dir" });

/** Every command that computes with a base takes these. */
export const baseModel = { base, precision: precisionOption, device: deviceOption };

export const run = z.string().optional().meta({ description: "Folder to resume from.", value: "dir", unset: "beside the result" });

/** The current date for chat templates. */
export const date = z.string().optional().meta({
  description: "The date for chat templates that write one, as 2026-03-01 or 2026-03-01T12:30:00.",
  value: "date",
  unset: "now",
});

/** Checks the text of a date. */
export function checkedDate(text: string): string {
  if (parseDate(text)) return text;
  throw new InvalidArgumentError("Expected a date as 2026-03-01 or 2026-03-01T12:30:00.");
}

/** The date of --date. */
export const dateOf = (text: string | undefined): Date | undefined => (text === undefined ? undefined : parseDate(text));

/** Examples by domain. */
export const domains = z.array(z.string()).meta({ description: "Each domain and its examples.", value: "name=file", variadic: true });
