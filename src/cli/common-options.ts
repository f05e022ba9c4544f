/** @file Options that several commands have, each said once. */

import * as z from "zod";

export const base = z.string().meta({ description: "The base model: a folder or a Hugging Face id.", value: "dir" });

export const run = z.string().optional().meta({ description: "Folder to resume from.", value: "dir", unset: "beside the result" });

/** Examples by domain. */
export const domains = z.array(z.string()).meta({ description: "Each domain and its examples.", value: "name=file", variadic: true });
