/** @file CSV and TSV (RFC 4180), read by csv-parse: a header line, then rows with the same number of fields. Quoted fields may hold
 *  delimiters and line ends. In a field that does not begin with a quote, a quote is an ordinary character, as in spreadsheets. */

import { CsvError, type InfoField, parse } from "csv-parse/sync";
import { DataError, invariant } from "../base/errors.ts";
import type { Row } from "./row.ts";

const LF = 0x0a;
const CR = 0x0d;

/** Rows as objects of strings, keyed by the header. */
export function parseDelimited(text: string, delimiter: string, path: string): Row[] {
  const [header, ...lines] = records(text, { delimiter, path });
  if (!header) return [];
  refuseTwins(header, path);
  return lines.map((line) => rowOf(line, header.fields, path));
}

/** The names in a header, which is the text's one record. */
export function parseHeader(text: string, delimiter: string, path: string): readonly string[] {
  const [header] = records(text, { delimiter, path });
  invariant(header, "a header is a record");
  refuseTwins(header, path);
  return header.fields;
}

/** One record of a file, which begins on `line`. */
export function parseRecord(text: string, { header, line, ...file }: { header: readonly string[]; line: number } & File): Row {
  const [record] = records(text, { ...file, firstLine: line });
  invariant(record, "a record has a field");
  return rowOf(record, header, file.path);
}

interface File {
  readonly delimiter: string;
  readonly path: string;
  /** The line of the file on which the text begins; 1 by default. */
  readonly firstLine?: number;
}

function rowOf({ fields, line }: Line, header: readonly string[], path: string): Row {
  const where = `${path}, line ${line}`;
  if (fields.length !== header.length) {
    throw new DataError({
      code: "data-bad-csv",
      what: `Expected ${header.length} fields as in the header, got ${fields.length}.`,
      where,
      fix: "Quote fields that hold the delimiter, quotes or line ends; a header line with names is needed.",
    });
  }
  return { value: Object.fromEntries(header.map((name, i) => [name, fields[i]])), where };
}

interface Line {
  readonly fields: readonly string[];
  readonly line: number;
}

/** Refuses two columns with one name: one of them would be lost. */
function refuseTwins({ fields, line }: Line, path: string): void {
  const twin = fields.find((name, i) => fields.indexOf(name) !== i);
  if (twin === undefined) return;
  const fix = "Give each column a name of its own in the header line.";
  throw new DataError({
    code: "data-bad-csv",
    what: `Two columns are named ${JSON.stringify(twin)}.`,
    where: `${path}, line ${line}`,
    fix,
  });
}

function records(text: string, { delimiter, path, firstLine = 1 }: File): Line[] {
  const bytes = Buffer.from(text);
  const place = (offset: number) => placeOf(bytes, offset, { path, firstLine });
  const starts: number[] = []; // the byte offset of each record
  let at = 0; // the offset of the current field
  /** Called at the end of each field. The parser accepts a closing quote anywhere, so its result is compared with the bytes. */
  const checked = (value: string, { bytes: end, index, quoting }: InfoField): string => {
    if (index === 0) {
      at = behindLineEnds(bytes, at);
      starts.push(at);
    } else at++;
    if (quoting && bytes.toString("utf8", at, end) !== `"${value.replaceAll('"', '""')}"`) refuseClosing(bytes, at, place);
    at = end;
    return value;
  };
  const rows = parsed(bytes, delimiter, checked, () => {
    const isFirst = bytes[at] === CR || bytes[at] === LF;
    return place(isFirst ? behindLineEnds(bytes, at) : at === 0 ? 0 : at + 1);
  });
  invariant(starts.length === rows.length, "every record of a CSV file begins somewhere");
  const lines = lineNumbers(bytes, starts);
  return rows.map((fields, i) => ({ fields, line: lines[i]! + firstLine - 1 }));
}

type Cast = (value: string, context: InfoField) => string;

function parsed(bytes: Buffer, delimiter: string, cast: Cast, opening: () => string): readonly string[][] {
  try {
    const record_delimiter = ["\r\n", "\n", "\r"];
    return parse(bytes, { cast, delimiter, record_delimiter, relax_column_count: true, relax_quotes: true, skip_empty_lines: true });
  } catch (error) {
    if (!(error instanceof CsvError) || error.code !== "CSV_QUOTE_NOT_CLOSED") throw error;
    throw new DataError({
      code: "data-bad-csv",
      what: "A quoted field is not closed.",
      where: opening(),
      fix: 'Close it with ".',
      cause: error,
    });
  }
}

/** A field that begins with a quote and does not end with one. */
function refuseClosing(bytes: Buffer, start: number, place: (offset: number) => string): never {
  const [quoted = ""] = /^"(?:[^"]|"")*"/.exec(bytes.toString("utf8", start)) ?? [];
  const behind = start + Buffer.byteLength(quoted);
  const [character = ""] = bytes.toString("utf8", behind, behind + 4);
  throw new DataError({
    code: "data-bad-csv",
    what: `A quoted field is closed and goes on: ${JSON.stringify(character)} stands behind its closing quote.`,
    where: place(behind),
    fix: 'Write a quote inside a quoted field twice (""), or take away what stands behind the closing one.',
  });
}

function behindLineEnds(bytes: Buffer, from: number): number {
  let at = from;
  while (bytes[at] === CR || bytes[at] === LF) at++;
  return at;
}

/** File, line and column of an offset. Columns count characters, from 1. */
function placeOf(bytes: Buffer, offset: number, { path, firstLine }: { path: string; firstLine: number }): string {
  const lines = bytes.toString("utf8", 0, offset).split(/\r\n|\n|\r/);
  return `${path}, line ${lines.length + firstLine - 1}, column ${[...(lines.at(-1) ?? "")].length + 1}`;
}

/** The line number of each offset, from 1. The offsets are in ascending order. */
function lineNumbers(bytes: Buffer, offsets: readonly number[]): number[] {
  let [line, at] = [1, 0];
  return offsets.map((offset) => {
    for (; at < offset; at++) if (bytes[at] === LF || (bytes[at] === CR && bytes[at + 1] !== LF)) line++;
    return line;
  });
}
