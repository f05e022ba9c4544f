/** @file CSV and TSV (RFC 4180): a header line, then rows of as many fields; quoted fields may hold delimiters and line ends. */

import { DataError } from "../base/errors.ts";
import type { Row } from "./rows.ts";

/** Rows as objects of strings, keyed by the header. */
export function parseDelimited(text: string, delimiter: string, path: string): Row[] {
  const [header, ...lines] = splitFields(text, delimiter, path);
  if (!header) return [];
  return lines.map(({ fields, line }) => {
    const where = `${path}, line ${line}`;
    if (fields.length !== header.fields.length) {
      throw new DataError({
        what: `Expected ${header.fields.length} fields as in the header, got ${fields.length}.`,
        where,
        fix: "Quote fields that hold the delimiter, quotes or line ends; a header line with names is needed.",
      });
    }
    return { value: Object.fromEntries(header.fields.map((name, i) => [name, fields[i]])), where };
  });
}

interface Line {
  readonly fields: string[];
  readonly line: number;
}

function splitFields(text: string, delimiter: string, path: string): Line[] {
  const lines: Line[] = [];
  let number = 1;
  let at = 0;
  while (at < text.length) {
    const fields: string[] = [];
    const line = number;
    for (let ended = false; !ended; ) {
      const field = text[at] === '"' ? quotedField(text, at, `${path}, line ${number}`) : bareField(text, at, delimiter);
      fields.push(field.value);
      number += field.value.split("\n").length - 1;
      at = field.end;
      ended = text[at] !== delimiter;
      at++;
      if (text[at - 1] === "\r") at++;
    }
    number++;
    if (fields.length > 1 || fields[0] !== "") lines.push({ fields, line });
  }
  return lines;
}

function bareField(text: string, start: number, delimiter: string): { value: string; end: number } {
  let end = start;
  while (end < text.length && text[end] !== delimiter && text[end] !== "\n" && text[end] !== "\r") end++;
  return { value: text.slice(start, end), end };
}

function quotedField(text: string, start: number, where: string): { value: string; end: number } {
  let end = start + 1;
  for (;;) {
    end = text.indexOf('"', end);
    if (end < 0) throw new DataError({ what: "A quoted field is not closed.", where, fix: 'Close it with ".' });
    if (text[end + 1] !== '"') break;
    end += 2;
  }
  return { value: text.slice(start + 1, end).replaceAll('""', '"'), end: end + 1 };
}
