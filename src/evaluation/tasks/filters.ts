/** @file Filters of lm-evaluation-harness on generated text (`filter_list`): regex, take_first, lowercase, uppercase, remove_whitespace;
 *  and the options of its exact_match. */

import { z } from "zod";
import { DataError, messageOf } from "../../base/errors.ts";
import { ASCII_PUNCTUATION } from "../metrics/python-text.ts";

/** One change to a text. It is plain data, so that it can be part of the key of a stored result. */
export type TextFilter =
  /** `re.findall`: the match at index `group` (negative from the end), its first non-empty group, else `fallback`. */
  | { readonly kind: "regex"; readonly pattern: string; readonly group: number; readonly fallback: string }
  | { readonly kind: "remove"; readonly pattern: string }
  | { readonly kind: "take_first" | "lowercase" | "uppercase" | "remove_whitespace" | "remove_punctuation" | "remove_numbers" };

/** Filters applied in order; the harness reports each metric once per pipeline, as `<metric>,<name>`. */
export interface FilterPipeline {
  readonly name: string;
  readonly filters: readonly TextFilter[];
}

/** Applies these filters to a text, in order. */
export function filtering(filters: readonly TextFilter[]): (text: string) => string {
  const steps = filters.map(step);
  return (text) => steps.reduce((kept, next) => next(kept), text);
}

function step(filter: TextFilter): (text: string) => string {
  switch (filter.kind) {
    case "regex":
      return findAll(compile(filter.pattern), filter);
    case "remove": {
      const regex = compile(filter.pattern);
      return (text) => text.replace(regex, "");
    }
    case "take_first": // one generation per example: nothing to choose from
      return (text) => text;
    case "lowercase":
      return (text) => text.toLowerCase();
    case "uppercase":
      return (text) => text.toUpperCase();
    case "remove_whitespace":
      return (text) => text.trimStart();
    case "remove_punctuation":
      return (text) => [...text].filter((letter) => !ASCII_PUNCTUATION.has(letter)).join("");
    case "remove_numbers":
      return (text) => text.replace(/[0-9]/g, "");
  }
}

function findAll(regex: RegExp, { group, fallback }: Extract<TextFilter, { kind: "regex" }>): (text: string) => string {
  return (text) => {
    const match = [...text.matchAll(regex)].at(group);
    if (!match) return fallback;
    const [whole, ...groups] = match;
    return (groups.length === 0 ? whole : (groups.find((part) => part) ?? fallback)).trim();
  };
}

function compile(pattern: string): RegExp {
  // A flag group at the start, as Python writes flags for a whole pattern.
  const [, flags = "", body = pattern] = /^\(\?([ims]+)\)([\s\S]*)$/.exec(pattern) ?? [];
  try {
    return new RegExp(body, `gu${flags}`);
  } catch {
    // Unicode mode refuses needless escapes such as \-, which Python allows.
    return new RegExp(body, `g${flags}`);
  }
}

const schema = z.discriminatedUnion("function", [
  z.strictObject({
    function: z.literal("regex"),
    regex_pattern: z.string().default("#### (\\-?[0-9\\.\\,]+)"),
    group_select: z.int().default(0),
    fallback: z.string().default("[invalid]"),
  }),
  z.strictObject({ function: z.literal("take_first") }),
  z.strictObject({ function: z.literal("lowercase") }),
  z.strictObject({ function: z.literal("uppercase") }),
  z.strictObject({ function: z.literal("remove_whitespace") }),
]);

/** The pipelines of a `filter_list`. */
export function parseFilterList(list: readonly { name: string; filter: readonly unknown[] }[], where: string): FilterPipeline[] {
  return list.map(({ name, filter }) => ({ name, filters: filter.map((entry) => parseFilter(entry, `${where}, filter ${name}`)) }));
}

/** The filter that one entry of a `filter:` list describes. */
function parseFilter(entry: unknown, where: string): TextFilter {
  const result = schema.safeParse(entry);
  if (!result.success) {
    const what = `This filter is not supported: ${JSON.stringify(entry)}.`;
    throw new DataError({
      code: "task-unsupported",
      what,
      where,
      fix: "Use regex, take_first, lowercase, uppercase or remove_whitespace.",
    });
  }
  const filter = result.data;
  if (filter.function !== "regex") return { kind: filter.function };
  const { regex_pattern, group_select: group, fallback } = filter;
  return { kind: "regex", pattern: usable(regex_pattern, where), group, fallback };
}

/** The pattern, after checking that it compiles. */
function usable(pattern: string, where: string): string {
  try {
    compile(pattern);
    return pattern;
  } catch (cause) {
    const fix = "Rewrite it without Python's own syntax, such as (?P<name>...).";
    throw new DataError({
      code: "task-unsupported",
      what: `The pattern ${pattern} cannot be used: ${messageOf(cause)}`,
      where,
      fix,
      cause,
    });
  }
}

/** Options of the harness's `exact_match`; prediction and reference are changed in the same way before the comparison. */
export const exactMatchSchema = z.strictObject({
  regexes_to_ignore: z.array(z.string()).default([]),
  ignore_case: z.boolean().default(false),
  ignore_punctuation: z.boolean().default(false),
  ignore_numbers: z.boolean().default(false),
});

/** The changes that `exact_match` with these options makes to prediction and reference, in the harness's order. */
export function exactMatchFilters(options: z.infer<typeof exactMatchSchema>, where: string): TextFilter[] {
  return [
    ...options.regexes_to_ignore.map((pattern) => ({ kind: "remove", pattern: usable(pattern, where) }) as const),
    ...(options.ignore_case ? [{ kind: "lowercase" } as const] : []),
    ...(options.ignore_punctuation ? [{ kind: "remove_punctuation" } as const] : []),
    ...(options.ignore_numbers ? [{ kind: "remove_numbers" } as const] : []),
  ];
}
