/** @file Filters of lm-evaluation-harness on generated text (`filter_list`): regex, take_first, lowercase, uppercase, remove_whitespace;
 *  and what its exact_match ignores. */

import { z } from "zod";
import { DataError, messageOf } from "../../base/errors.ts";
import { ASCII_PUNCTUATION } from "../metrics/python-text.ts";

/** Filters applied in order; the harness reports each metric once per pipeline, as `<metric>,<name>`. */
export interface FilterPipeline {
  readonly name: string;
  readonly apply: TextFilter;
}

/** Turns generated text into the answer that is compared. */
export type TextFilter = (text: string) => string;

const schema = z.discriminatedUnion("function", [
  z.strictObject({
    function: z.literal("regex"),
    regex_pattern: z.string().default("#### (\\-?[0-9\\.\\,]+)"),
    group_select: z.int().default(0),
    fallback: z.string().default("[invalid]"),
  }),
  z.strictObject({ function: z.literal("take_first") }), // one generation per example: nothing to choose from
  z.strictObject({ function: z.literal("lowercase") }),
  z.strictObject({ function: z.literal("uppercase") }),
  z.strictObject({ function: z.literal("remove_whitespace") }),
]);

/** The pipelines of a `filter_list`. */
export function parseFilterList(list: readonly { name: string; filter: readonly unknown[] }[], where: string): FilterPipeline[] {
  return list.map(({ name, filter }) => {
    const filters = filter.map((entry) => parseFilter(entry, `${where}, filter ${name}`));
    return { name, apply: (text) => filters.reduce((kept, next) => next(kept), text) };
  });
}

/** The filter that one entry of a `filter:` list describes. */
function parseFilter(entry: unknown, where: string): TextFilter {
  const result = schema.safeParse(entry);
  if (!result.success) {
    const what = `This filter is not supported: ${JSON.stringify(entry)}.`;
    throw new DataError({ what, where, fix: "Use regex, take_first, lowercase, uppercase or remove_whitespace." });
  }
  const filter = result.data;
  switch (filter.function) {
    case "regex":
      return regexFilter(filter.regex_pattern, filter.group_select, { fallback: filter.fallback, where });
    case "take_first":
      return (text) => text;
    case "lowercase":
      return (text) => text.toLowerCase();
    case "uppercase":
      return (text) => text.toUpperCase();
    case "remove_whitespace":
      return (text) => text.trimStart();
  }
}

/** `re.findall`: the match at index `group` (negative from the end), its first non-empty group, else `fallback`. */
function regexFilter(pattern: string, group: number, { fallback, where }: { fallback: string; where: string }): TextFilter {
  const regex = compile(pattern, where);
  return (text) => {
    const match = [...text.matchAll(regex)].at(group);
    if (!match) return fallback;
    const [whole, ...groups] = match;
    return (groups.length === 0 ? whole : (groups.find((part) => part) ?? fallback)).trim();
  };
}

function compile(pattern: string, where: string): RegExp {
  // A flag group at the start, as Python writes flags for a whole pattern.
  const [, flags = "", body = pattern] = /^\(\?([ims]+)\)([\s\S]*)$/.exec(pattern) ?? [];
  try {
    return new RegExp(body, `gu${flags}`);
  } catch {
    // Unicode mode refuses needless escapes such as \-, which Python allows.
  }
  try {
    return new RegExp(body, `g${flags}`);
  } catch (cause) {
    const fix = "Rewrite it without Python's own syntax, such as (?P<name>...).";
    throw new DataError({ what: `The pattern ${pattern} cannot be used: ${messageOf(cause)}`, where, fix, cause });
  }
}

/** Options of the harness's `exact_match`; both sides are changed alike before they are compared. */
export const exactMatchSchema = z.strictObject({
  regexes_to_ignore: z.array(z.string()).default([]),
  ignore_case: z.boolean().default(false),
  ignore_punctuation: z.boolean().default(false),
  ignore_numbers: z.boolean().default(false),
});

/** What `exact_match` with these options does to prediction and reference, in the harness's order. */
export function exactMatchFilter(options: z.infer<typeof exactMatchSchema>, where: string): TextFilter {
  const ignored = options.regexes_to_ignore.map((pattern) => compile(pattern, where));
  return (text) => {
    let kept = ignored.reduce((rest, regex) => rest.replace(regex, ""), text);
    if (options.ignore_case) kept = kept.toLowerCase();
    if (options.ignore_punctuation) kept = [...kept].filter((letter) => !ASCII_PUNCTUATION.has(letter)).join("");
    return options.ignore_numbers ? kept.replace(/[0-9]/g, "") : kept;
  };
}
