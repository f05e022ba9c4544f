/** @file Translates Python regular expressions (the `re` module) to JavaScript's. Only the subset with the same meaning is accepted.
 *
 *  Differences that matter for module paths: named groups, \A and \Z, a leading inline flag, `]` first in a class.
 *  Reference: docs.python.org/3/library/re.html. */

import { AdapterError, messageOf } from "../base/errors.ts";

/** A test for `re.fullmatch(pattern, text)`. `where` names the configuration key in errors. */
export function pythonFullmatch(pattern: string, where: string): (text: string) => boolean {
  const { source, flags } = translated(pattern, where);
  const regex = compiled(`^(?:${source})$`, flags, pattern, where);
  return (text) => regex.test(text);
}

/** A test for `re.match(prefix + "(" + pattern + ")$", text)` where `prefix` is already JavaScript. */
export function pythonSuffixMatch(prefix: string, pattern: string, where: string): (text: string) => boolean {
  const { source, flags } = translated(pattern, where);
  const regex = compiled(`^${prefix}(?:${source})$`, flags, pattern, where);
  return (text) => regex.test(text);
}

/** The pattern's source in JavaScript, for use in a longer pattern. */
export function pythonSource(pattern: string, where: string): string {
  const { source, flags } = translated(pattern, where);
  if (flags !== "") throw refusal(pattern, "inline flags", where);
  return source;
}

function compiled(source: string, flags: string, pattern: string, where: string): RegExp {
  try {
    return new RegExp(source, flags);
  } catch (cause) {
    throw refusal(pattern, messageOf(cause), where, cause);
  }
}

function refusal(pattern: string, part: string, where: string, cause?: unknown): AdapterError {
  return new AdapterError({
    code: "adapter-bad-config",
    what: `The Python pattern ${JSON.stringify(pattern)} cannot be read here: ${part}.`,
    where,
    fix: "Write target_modules as a list of module names, or use a simpler pattern.",
    cause,
  });
}

/** Tokens that are not one plain character: escapes, group openers, classes, and quantifiers that JavaScript lacks. */
const TOKEN = /\\([\s\S])|\(\?(P<\w+>|P=\w+\)|[a-zA-Z]+\)|:|=|!|<=|<!|)|\[(\^?)(\]?)((?:\\[\s\S]|[^\]\\])*)\]|([*+?}])\+|[\s\S]/g;

function translated(pattern: string, where: string): { source: string; flags: string } {
  let flags = "";
  const source = pattern.replace(
    TOKEN,
    (token, escaped?: string, group?: string, not?: string, bracket?: string, body?: string, possessive?: string) => {
      if (escaped !== undefined) return translatedEscape(escaped, pattern, where);
      if (possessive !== undefined) throw refusal(pattern, `the possessive quantifier "${token}"`, where);
      if (body !== undefined) return `[${not}${bracket ? "\\]" : ""}${body.replaceAll("[", "\\[")}]`;
      if (group === undefined) return token;
      if (group.startsWith("P<")) return `(?<${group.slice(2)}`;
      if (group.startsWith("P=")) return `\\k<${group.slice(2, -1)}>`;
      if (/^[ims]+\)$/.test(group) && pattern.startsWith(token)) {
        flags = group.slice(0, -1);
        return "";
      }
      if (group === "" || group.endsWith(")")) throw refusal(pattern, `the group "${token}..."`, where);
      return token;
    },
  );
  return { source, flags };
}

function translatedEscape(letter: string, pattern: string, where: string): string {
  if (letter === "A") return "(?<![\\s\\S])";
  if (letter === "Z") return "(?![\\s\\S])";
  if (/[a-zA-Z]/.test(letter) && !"dDwWsSbBnrtfvxu".includes(letter)) throw refusal(pattern, `the escape "\\${letter}"`, where);
  return `\\${letter}`;
}
