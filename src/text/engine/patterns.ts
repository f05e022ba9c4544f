/** @file The places where a text is split: at characters, strings or patterns
 *  (reference: huggingface/tokenizers, tokenizer/pattern.rs and normalizer.rs).
 *
 *  Patterns are written for Oniguruma. @huggingface/tokenizers translates them to JavaScript, except these, which are translated here:
 *  possessive quantifiers, atomic groups (both never backtrack) and case folding beyond ASCII. */

import * as hub from "@huggingface/tokenizers";
import * as z from "zod";
import { shadow } from "./unicode.ts";

/** Part of a text, from start to end, and whether it matches. All parts together are the text. */
export interface Part {
  readonly start: number;
  readonly end: number;
  readonly matches: boolean;
}

export type Finder = (text: string) => Part[];

export const patternSchema = z.union([z.object({ String: z.string() }), z.object({ Regex: z.string() })]);
export type Pattern = z.output<typeof patternSchema>;

/** Each character that passes the test is one match. */
export function characterFinder(test: (character: string) => boolean): Finder {
  return (text) => {
    const parts: Part[] = [];
    let [at, from] = [0, 0];
    for (const character of text) {
      const end = at + character.length;
      if (test(character)) {
        if (from < at) parts.push({ start: from, end: at, matches: false });
        parts.push({ start: at, end, matches: true });
        from = end;
      }
      at = end;
    }
    if (from < at) parts.push({ start: from, end: at, matches: false });
    return parts;
  };
}

export function patternFinder(pattern: Pattern): Finder {
  const regex = "Regex" in pattern ? compiled(pattern.Regex) : new RegExp(escaped(pattern.String), "gu");
  if ("String" in pattern && pattern.String === "") return (text) => [{ start: 0, end: text.length, matches: false }];
  return regexFinder(regex);
}

/** `regex` has the flags g and u. */
export function regexFinder(regex: RegExp): Finder {
  return (text) => {
    const parts: Part[] = [];
    let from = 0;
    for (const { 0: match, index } of shadow(text).matchAll(regex)) {
      if (from < index) parts.push({ start: from, end: index, matches: false });
      parts.push({ start: index, end: index + match.length, matches: true });
      from = index + match.length;
    }
    if (from < text.length) parts.push({ start: from, end: text.length, matches: false });
    return parts;
  };
}

export const inverted =
  (finder: Finder): Finder =>
  (text) =>
    finder(text).map((part) => ({ ...part, matches: !part.matches }));

const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");

/** The part of the engine that is used here; its type declarations lack it. */
interface Library {
  readonly SplitPreTokenizer: new (config: object) => { readonly pattern: RegExp };
}

function compiled(source: string): RegExp {
  const { SplitPreTokenizer } = hub as unknown as Library;
  const { pattern } = new SplitPreTokenizer({ pattern: { Regex: withAtomicGroups(source) }, behavior: "Isolated", invert: false });
  if (!source.includes("(?i:")) return pattern;
  // Two ASCII letters have a third form: the long s, and the kelvin sign.
  const folded = pattern.source.replaceAll("[sS]", "[sS\\u017F]").replaceAll("[kK]", "[kK\\u212A]");
  return new RegExp(folded, pattern.flags);
}

/** `X++`, `X*+`, `X?+` and `(?>X)` in JavaScript: a look-ahead, which never backtracks, and a reference to its match.
 *  After braces, Oniguruma's + is one more repetition, which the engine supports. */
export function withAtomicGroups(source: string, named = { count: 0 }): string {
  const atomic = (inner: string): string => {
    const name = `atomic${++named.count}`;
    return `(?=(?<${name}>${inner}))\\k<${name}>`;
  };
  let out = "";
  for (let i = 0; i < source.length; ) {
    const atom = atomAt(source.slice(i));
    const [quantifier = "", possessive = ""] = /^[+*?](\+?)/.exec(source.slice(i + atom.length)) ?? [];
    i += atom.length + quantifier.length;
    const [opening = ""] = /^\((?:\?(?:<[=!]|<\w+>|[:=!>]|\w+:))?/.exec(atom) ?? [];
    const within = opening === "" ? atom : withAtomicGroups(atom.slice(opening.length, -1), named);
    const inner = opening === "" ? within : opening === "(?>" ? atomic(within) : `${opening}${within})`;
    out += possessive === "" ? inner + quantifier : atomic(inner + quantifier.slice(0, -1));
  }
  return out;
}

/** The first atom of a pattern: an escape, a class, a group or one character. */
function atomAt(pattern: string): string {
  const backslashed = /^\\(?:[pPxu]\{[^}]*\}|[\s\S])/.exec(pattern);
  if (backslashed) return backslashed[0];
  if (pattern.startsWith("[")) return pattern.slice(0, classEnd(pattern));
  if (pattern.startsWith("(")) return pattern.slice(0, groupEnd(pattern));
  return String.fromCodePoint(pattern.codePointAt(0)!);
}

/** The end of the class that a pattern begins with. A ] in first place is a member. */
function classEnd(pattern: string): number {
  let i = pattern[1] === "^" ? 2 : 1;
  if (pattern[i] === "]") i++;
  for (; i < pattern.length; i++) {
    if (pattern[i] === "]") return i + 1;
    if (pattern[i] === "\\") i++;
    else if (pattern[i] === "[") i += classEnd(pattern.slice(i)) - 1;
  }
  return i;
}

function groupEnd(pattern: string): number {
  let i = 1;
  while (i < pattern.length && pattern[i] !== ")") i += atomAt(pattern.slice(i)).length;
  if (i >= pattern.length) throw new SyntaxError(`the group ${pattern} is not closed`);
  return i + 1;
}
