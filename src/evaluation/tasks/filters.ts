/** @file Filters of lm-evaluation-harness on generated text (`filter_list`): regex, take_first, lowercase, uppercase, remove_whitespace. */

import { z } from "zod";
import { DataError, messageOf } from "../../base/errors.ts";

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

/** The filter that one entry of a `filter:` list describes. */
export function parseFilter(entry: unknown, where: string): TextFilter {
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
  try {
    return new RegExp(pattern.replace(/^\(\?[ims]+\)/, ""), `gu${/^\(\?([ims]+)\)/.exec(pattern)?.[1] ?? ""}`);
  } catch {
    // Unicode mode refuses needless escapes such as \-, which Python allows.
  }
  try {
    return new RegExp(pattern, "g");
  } catch (cause) {
    const fix = "Rewrite it without Python's own syntax, such as (?P<name>...).";
    throw new DataError({ what: `The filter's pattern cannot be used: ${messageOf(cause)}`, where, fix, cause });
  }
}
